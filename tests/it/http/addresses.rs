//! Where requests do not go.

use std::fs;
use std::process::Command;

use serde_json::json;

use super::{fetch, get};
use crate::support::{Client, Need, Server, Web, scratch};

pub(super) const METADATA: [&str; 18] = [
    "169.254.169.254",
    "0xA9FEA9FE",
    "2852039166",
    "169.254.43518",
    "[::ffff:169.254.169.254]",
    "[::ffff:0:169.254.169.254]",
    "[fe80::1]",
    "[fd00:ec2::254]",
    "[fd00:ec2::23]",
    "[fd00:c1::a9fe:a9fe]",
    "[fd00:42::42]",
    "[64:ff9b::169.254.169.254]",
    "[64:ff9b:1:a9fe:a9:fe00::]",
    "[64:ff9b:1::169.254.169.254]",
    "[2002:a9fe:a9fe::1]",
    "[2001:0:5db8:d822:0:1234:5601:5601]",
    "[2001:db8::5efe:169.254.169.254]",
    "[::ffff:100.100.100.200]",
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

#[test]
fn a_name_does_not_lead_there_either() {
    needs!(Need::Namespaces);
    let dir = scratch();
    let hosts = dir.path("hosts");
    let names = "fd00:ec2::23 one.test\n64:ff9b:1::a9fe:a9fe two.test\n\
                 fd00:ec2::23 both.test\n127.0.0.1 both.test\n";
    fs::write(&hosts, names).unwrap();
    let mut command = Command::new("unshare");
    command
        .args(["--user", "--map-root-user", "--mount", "sh", "-c"])
        .args(["mount --bind \"$0\" /etc/hosts && exec \"$@\"", &hosts])
        .arg(Server::command().get_program());
    command.args(["--listen", "stdio"]);
    let mut client = Client::stdio_command(command);
    for name in ["one.test", "two.test"] {
        let url = format!("http://{name}/");
        let error = client.err("http/request", get(&url, json!({"timeoutMs": 5000})));
        assert_eq!(error.code, -32600, "{}", error.message);
    }
    // Of several addresses only those are tried that may be.
    let web = Web::serve(|_, wire| wire.reply("200 OK", b"here"));
    let url = web.url("/").replace("127.0.0.1", "both.test");
    assert_eq!(fetch(&mut client, get(&url, json!({}))).1, b"here");
}
