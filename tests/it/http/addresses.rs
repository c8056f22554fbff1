//! Where requests do not go.

use serde_json::json;

use super::get;
use crate::support::Web;

const METADATA: [&str; 8] = [
    "169.254.169.254",
    "0xA9FEA9FE",
    "2852039166",
    "169.254.43518",
    "[::ffff:169.254.169.254]",
    "[fe80::1]",
    "[fd00:ec2::254]",
    "[64:ff9b::169.254.169.254]",
];

over_both! {
    fn link_local_addresses_are_refused(client) {
        for host in METADATA {
            for scheme in ["http", "https"] {
                let url = format!("{scheme}://{host}/latest/meta-data");
                let error = client.err("http/request", get(&url, json!({"timeoutMs": 5000})));
                assert_eq!(error.code, -32600, "{}", error.message);
                assert!(error.message.contains("--allow-link-local"), "{}", error.message);
            }
        }
    }

    fn a_redirect_does_not_lead_there_either(client) {
        let web = Web::serve(|asked, wire| {
            let target = asked.path().trim_start_matches('/');
            wire.reply(&format!("302 Found\r\nlocation: //{target}/"), b"");
        });
        for host in METADATA {
            let url = web.url(&format!("/{host}"));
            let error = client.err("http/request", get(&url, json!({"timeoutMs": 5000})));
            assert_eq!(error.code, -32600, "{}", error.message);
        }
    }
}
