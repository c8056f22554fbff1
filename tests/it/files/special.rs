//! FIFOs, sockets and devices: no request waits for them.

use std::os::unix::net::UnixListener;

use serde_json::json;

use super::{make_fifo, pair, refused};
use crate::support::{Start, params, scratch, signal};

over_both! {
    fn none_of_them_is_read_or_waited_for(client) {
        let scratch = scratch();
        let path = |name: &str| scratch.path(name);
        make_fifo(&path("fifo"));
        let _socket = UnixListener::bind(path("socket")).unwrap();
        for special in [path("fifo"), "/dev/zero".into(), "/dev/null".into(), "/dev/tty".into()] {
            match client.request("fs/readFile", json!({"path": special})) {
                // There may be no terminal.
                Err(error) if special == "/dev/tty" && error.code == -32603 => {}
                Err(error) => assert_eq!(pair(&error), (-32600, &*format!("path `{special}` is not a file"))),
                Ok(read) => panic!("{special} was read: {read}"),
            }
        }
        let no_device = "No such device or address (os error 6)";
        refused(client, "fs/readFile", json!({"path": path("socket")}), -32603, no_device);
        for special in ["fifo", "socket"] {
            for atomic in [false, true] {
                let error = client.err("fs/writeFile", json!({"path": path(special), "dataBase64": "aGk=", "atomic": atomic}));
                assert!([-32603, -32600].contains(&error.code), "{error:?}");
            }
            let error = client.err("fs/copy", json!({"sourcePath": "/proc/version", "destinationPath": path(special), "recursive": false}));
            assert!([-32603, -32600].contains(&error.code), "{error:?}");
            assert_eq!(client.ok("fs/getMetadata", json!({"path": path(special)}))["isFile"], false);
        }
        assert_eq!(client.ok("fs/writeFile", json!({"path": "/dev/null", "dataBase64": "aGk="})), json!({}));
        client.still_serves();
    }

    fn a_fifo_with_somebody_at_its_other_end_is_refused_too(client) {
        let scratch = scratch();
        let fifo = scratch.path("fifo");
        make_fifo(&fifo);
        client.start(Start::shell("p", &format!("exec 3<>{fifo}; echo $$; exec sleep 60")));
        let pid = client.number("p");
        let message = format!("path `{fifo}` is not a file");
        refused(client, "fs/writeFile", json!({"path": fifo, "dataBase64": "aGk="}), -32600, &message);
        refused(client, "fs/readFile", json!({"path": fifo}), -32600, &message);
        signal(pid, "KILL");
        client.closed("p");
        assert_eq!(client.ok("process/terminate", params("p", json!({}))), json!({"running": false}));
    }
}
