//! What a client asks for at the start of a session, on a machine that has nothing to tell.

use serde_json::{Value, json};

use crate::support::Client;

fn read_config(client: &mut Client, config: Value, requirements: Value) -> Value {
    let params =
        json!({"cwd": "file:///tmp", "configPaths": config, "requirementsPaths": requirements});
    client.ok("environmentConfig/read", params)
}

over_both! {
    fn there_is_no_configuration(client) {
        let answer = read_config(client, json!([["mcp_servers"]]), json!([["mcp_servers"]]));
        let none = json!({"layers": [], "cloudInsertionIndex": 0});
        assert_eq!((&answer["config"], &answer["requirements"]), (&none, &none));
        assert!(answer["codexHomeDir"].as_str().unwrap().starts_with("file:///"));
        assert_eq!(answer["userHomeDir"], client.greeting["environmentInfo"]["userHomeDir"]);
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        assert_eq!(answer["hostname"], name.trim_end());
        read_config(client, json!([]), json!([["a", "b"]]));
    }

    fn nothing_is_discovered(client) {
        let roots = json!({"roots": [{"id": "a", "path": "/tmp/x y"}, {"id": "b", "path": "file:///etc"}]});
        let found = client.ok("capabilityRoots/discoverV1", roots);
        let empty = |id: &str, path: &str| {
            json!({
                "id": id, "path": path, "plugin": null, "skills": [], "namespaceManifests": [],
                "warnings": [], "error": null
            })
        };
        assert_eq!(
            found,
            json!({"roots": [empty("a", "file:///tmp/x%20y"), empty("b", "file:///etc")]})
        );
        for cwd in ["file:///tmp", "/tmp", "file://host/x"] {
            let found = client.ok("capabilities/discoverV2", json!({"cwd": cwd}));
            assert_eq!(found, json!({"plugins": [], "skills": [], "warnings": []}));
        }
    }

    fn what_makes_no_sense_is_refused(client) {
        let good = "file:///tmp";
        for (method, params, message) in [
            ("environmentConfig/read", json!({}), "missing field `cwd`"),
            (
                "environmentConfig/read",
                json!({"cwd": good, "configPaths": [["a"]]}),
                "missing field `requirementsPaths`",
            ),
            (
                "environmentConfig/read",
                json!({"cwd": good, "configPaths": [], "requirementsPaths": []}),
                "at least one config or requirements path is required",
            ),
            (
                "environmentConfig/read",
                json!({"cwd": good, "configPaths": [["a"], []], "requirementsPaths": []}),
                "TOML paths must contain at least one key segment",
            ),
            (
                "environmentConfig/read",
                json!({"cwd": "x", "configPaths": [["a"]], "requirementsPaths": []}),
                "invalid URI: relative URL without a base",
            ),
            ("capabilityRoots/discoverV1", json!({}), "missing field `roots`"),
            ("capabilityRoots/discoverV1", json!({"roots": [{"id": "a"}]}), "missing field `path`"),
            ("capabilities/discoverV2", json!({}), "missing field `cwd`"),
            (
                "capabilities/discoverV2",
                json!({"cwd": "x"}),
                "invalid URI: relative URL without a base",
            ),
        ] {
            let error = client.err(method, params);
            assert_eq!((error.code, error.message.as_str()), (-32602, message), "{method}");
        }
    }
}

#[test]
fn only_what_is_there_is_announced() {
    let mut client = Client::stdio();
    let info = client.ok("environment/info", json!(null));
    assert_eq!(info["capabilities"]["environmentConfigRead"], false);
    assert_eq!(info["capabilities"]["capabilityDiscoveryV2"], false);
    assert_eq!(info["capabilities"]["fsWatchMissing"], true);
    let limits = &info["cgroup"];
    assert!(limits.is_null() || limits["cpuLimit"].is_f64() || limits["memoryLimitBytes"].is_u64());
}

#[test]
fn the_handshake_comes_first() {
    let mut client = Client::stdio_silent(&[]);
    for (method, params, family) in [
        (
            "environmentConfig/read",
            json!({"cwd": "/", "configPaths": [["a"]], "requirementsPaths": []}),
            "environment config",
        ),
        (
            "capabilityRoots/discoverV1",
            json!({"roots": []}),
            "capability discovery",
        ),
        (
            "capabilities/discoverV2",
            json!({"cwd": "/"}),
            "capability discovery",
        ),
        (
            "fs/watchMissing",
            json!({"watchId": 1, "missing": []}),
            "filesystem",
        ),
    ] {
        assert_eq!(
            client.err(method, params).message,
            format!("client must call initialize before using {family} methods")
        );
    }
}
