//! What a client asks for at the start of a session: configuration files, skills and plugins of this machine.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use crate::support::sandbox::{Launcher, Sandbox, Who};
use crate::support::{Client, Need, Scratch, Server, peak_resident, scratch};

/// A client of a server whose user keeps the client's files in a directory.
fn at_home(home: &Scratch) -> Client {
    let mut command = Server::command();
    command
        .args(["--listen", "stdio"])
        .env("CODEX_HOME", home.dir())
        .env("HOME", home.dir());
    Client::stdio_command(command)
}

/// Writes a file and the directories that it is in.
fn put(dir: &Scratch, name: &str, content: impl AsRef<[u8]>) {
    let path = dir.path(name);
    fs::create_dir_all(std::path::Path::new(&path).parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn read_config(client: &mut Client, cwd: &str, config: Value) -> Value {
    let params = json!({"cwd": cwd, "configPaths": config, "requirementsPaths": [["x"]]});
    client.ok("environmentConfig/read", params)
}

/// The layers of an answer, as whose file, where it is and what it says.
fn layers(answer: &Value) -> Vec<[String; 3]> {
    let layers = answer["config"]["layers"].as_array().unwrap();
    let text = |layer: &Value, member: &str| layer[member].as_str().unwrap().to_owned();
    layers
        .iter()
        .map(|layer| ["source", "baseDir", "toml"].map(|member| text(layer, member)))
        .collect()
}

fn roots(client: &mut Client, roots: Value) -> Vec<Value> {
    let answer = client.ok("capabilityRoots/discoverV1", json!({"roots": roots}));
    answer["roots"].as_array().unwrap().clone()
}

fn root(client: &mut Client, path: &str) -> Value {
    roots(client, json!([{"id": "r", "path": path}])).remove(0)
}

#[test]
fn where_there_is_no_configuration_nothing_is_told() {
    let home = scratch();
    let mut client = at_home(&home);
    let answer = read_config(&mut client, "file:///tmp", json!([["mcp_servers"]]));
    assert_eq!(layers(&answer), <[[String; 3]; 0]>::default());
    assert_eq!(answer["codexHomeDir"], format!("file://{}", home.dir()));
    assert_eq!(
        answer["userHomeDir"],
        client.greeting["environmentInfo"]["userHomeDir"]
    );
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(answer["hostname"], name.trim_end());
    let requirements = &answer["requirements"];
    assert_eq!(
        *requirements,
        json!({"layers": [], "cloudInsertionIndex": 0})
    );
}

#[test]
fn what_was_asked_for_is_told_of_the_user_and_of_a_trusted_project() {
    let (home, work) = (scratch(), scratch());
    put(&work, "p/.git/HEAD", "");
    put(&work, "p/.codex/config.toml", "model = \"project\"\n");
    put(&work, "p/sub/.codex/config.toml", "model = \"sub\"\n");
    put(&work, "p/sub/deep/x", "");
    let trust = |level: &str| {
        let config = format!(
            "model = \"user\"\nsecret = \"s\"\n[mcp_servers.t]\ncommand = \"x\"\n\
             [projects.{:?}]\ntrust_level = {level:?}\n",
            work.path("p")
        );
        put(&home, "config.toml", config);
    };
    trust("trusted");
    let mut client = at_home(&home);
    let ask = |client: &mut Client| {
        let wanted = json!([["model"], ["mcp_servers"]]);
        read_config(client, &work.path("p/sub/deep"), wanted)
    };
    let user = [
        format!("user ({})", home.path("config.toml")),
        format!("file://{}", home.dir()),
        "model = \"user\"\n\n[mcp_servers.t]\ncommand = \"x\"\n".to_owned(),
    ];
    let project = |place: &str, model: &str| {
        [
            format!("project ({}/config.toml)", work.path(place)),
            format!("file://{}", work.path(place)),
            format!("model = {model:?}\n"),
        ]
    };
    assert_eq!(
        layers(&ask(&mut client)),
        [
            user.clone(),
            project("p/.codex", "project"),
            project("p/sub/.codex", "sub")
        ]
    );
    trust("untrusted");
    assert_eq!(layers(&ask(&mut client)), [user]);
}

#[test]
fn a_configuration_that_cannot_be_read_is_an_error_with_its_place() {
    let home = scratch();
    let mut client = at_home(&home);
    let params = json!({"cwd": "/", "configPaths": [["a"]], "requirementsPaths": []});
    put(&home, "config.toml", "a = 1\nb = = 2\n");
    let error = client.err("environmentConfig/read", params.clone());
    assert_eq!(error.code, -32603);
    let place = format!(
        "failed to load executor-local config: {}:2:5: ",
        home.path("config.toml")
    );
    assert!(error.message.starts_with(&place), "{}", error.message);
    put(&home, "config.toml", vec![b'#'; (1 << 20) + 1]);
    let error = client.err("environmentConfig/read", params.clone());
    assert!(
        error.message.ends_with("it has more than 1048576 bytes"),
        "{error:?}"
    );
    put(&home, "config.toml", vec![b'#'; 1 << 20]);
    client.ok("environmentConfig/read", params);
}

over_both! {
    fn a_skill_is_told_with_its_texts(client) {
        let dir = scratch();
        put(&dir, "a/SKILL.md", "---\nname: a\n---\n");
        put(&dir, "a/agents/openai.yaml", "interface:\n");
        put(&dir, "b/.hidden/c/SKILL.md", "c \u{1}\"\\");
        put(&dir, "b/skill.md", "no");
        fs::create_dir_all(dir.path("d/SKILL.md")).unwrap();
        let file = |name: &str, contents: &str| {
            json!({"path": format!("file://{}", dir.path(name)), "contents": contents})
        };
        assert_eq!(
            root(client, &dir.dir()),
            json!({
                "id": "r",
                "path": format!("file://{}", dir.dir()),
                "plugin": null,
                "skills": [
                    {
                        "instructions": file("a/SKILL.md", "---\nname: a\n---\n"),
                        "metadata": file("a/agents/openai.yaml", "interface:\n"),
                    },
                    {"instructions": file("b/.hidden/c/SKILL.md", "c \u{1}\"\\"), "metadata": null},
                ],
                "namespaceManifests": [],
                "warnings": [],
                "error": null,
            })
        );
    }

    fn a_plugin_is_told_with_what_it_names(client) {
        let dir = scratch();
        let manifest = r#"{"name":"p","mcpServers":"./conf/m.json","apps":"../../etc/passwd"}"#;
        put(&dir, "p/.codex-plugin/plugin.json", manifest);
        put(&dir, "p/.claude-plugin/plugin.json", "{}");
        put(&dir, "p/conf/m.json", "{\"m\":1}");
        put(&dir, "p/skills/s/SKILL.md", "s");
        put(&dir, "q/.cursor-plugin/plugin.json", "{}");
        put(&dir, "q/.mcp.json", "{\"usual\":1}");
        let found = root(client, &dir.path("p"));
        let plugin = &found["plugin"];
        assert_eq!(plugin["manifest"]["contents"], manifest);
        assert_eq!(plugin["mcpConfig"]["contents"], "{\"m\":1}");
        assert_eq!(plugin["appsConfig"], Value::Null);
        let warning = format!(
            "ignoring apps in file://{}: path must start with `./`",
            dir.path("p/.codex-plugin/plugin.json")
        );
        assert_eq!(found["warnings"], json!([warning]));
        assert_eq!(found["namespaceManifests"], json!([plugin["manifest"]]));
        let found = root(client, &dir.path("q"));
        assert_eq!(found["plugin"]["mcpConfig"]["contents"], "{\"usual\":1}");
        // What is in a plugin belongs to it, and what is around plugins has them all.
        let inner = root(client, &dir.path("p/skills"));
        assert_eq!(inner["plugin"], Value::Null);
        assert_eq!(inner["namespaceManifests"][0]["contents"], manifest);
        let outer = root(client, &dir.dir());
        assert_eq!(outer["plugin"], Value::Null);
        assert_eq!(outer["namespaceManifests"].as_array().unwrap().len(), 2);
    }

    fn what_cannot_be_told_is_a_warning_or_an_error_of_its_root(client) {
        let dir = scratch();
        put(&dir, "bad/SKILL.md", b"\xff");
        put(&dir, "big/SKILL.md", vec![b'x'; (1 << 20) + 1]);
        put(&dir, "file", "");
        symlink(dir.path("big"), dir.path("bad/link")).unwrap();
        symlink(dir.path("file"), dir.path("bad/SKILL.lnk")).unwrap();
        let uri = |name: &str| format!("file://{}", dir.path(name));
        let found = roots(
            client,
            json!([
                {"id": "bad", "path": dir.path("bad")},
                {"id": "none", "path": uri("none")},
                {"id": "file", "path": uri("file")},
                {"id": "elsewhere", "path": "file://host/x"},
            ]),
        );
        assert_eq!(
            found[0]["warnings"],
            json!([
                format!(
                    "capability file {} is not UTF-8: invalid utf-8 sequence of 1 bytes from index 0",
                    uri("bad/SKILL.md")
                ),
                format!("capability file {} exceeds the 1048576-byte limit", uri("bad/link/SKILL.md")),
            ])
        );
        let errors: Vec<_> = found.iter().map(|root| root["error"].clone()).collect();
        assert_eq!(
            errors,
            [
                Value::Null,
                json!(format!(
                    "failed to inspect capability root {}: No such file or directory (os error 2)",
                    uri("none")
                )),
                json!(format!("capability root {} is not a directory", uri("file"))),
                json!("failed to inspect capability root file://host/x: 'file://host/x' is invalid on 'linux'"),
            ]
        );
        assert_eq!(roots(client, json!([])), Vec::<Value>::new());
    }

    fn what_a_policy_denies_is_not_told(client) {
        needs!(Need::Launcher(Launcher::Bundled, Who::Myself));
        let dir = scratch();
        put(&dir, "open/SKILL.md", "open");
        put(&dir, "shut/SKILL.md", "shut");
        put(&dir, "shut/.codex-plugin/plugin.json", "{\"shut\":1}");
        let sandbox = Sandbox::read_only().deny(&dir.path("shut")).json();
        let found = roots(
            client,
            json!([
                {"id": "all", "path": dir.dir(), "sandbox": sandbox},
                {"id": "shut", "path": dir.path("shut"), "sandbox": sandbox},
            ]),
        );
        let skills = found[0]["skills"].as_array().unwrap();
        assert_eq!(skills.len(), 1, "{found:?}");
        assert_eq!(skills[0]["instructions"]["contents"], "open");
        let text = json!(found).to_string();
        assert!(!text.contains("{\\\"shut\\\":1}"), "{text}");
        assert_eq!(found[1]["skills"], json!([]));
        // The same without a policy has all of it.
        let all = root(client, &dir.dir());
        assert_eq!(all["skills"].as_array().unwrap().len(), 2);
    }

    fn roots_of_different_policies_are_not_looked_at_together(client) {
        let dir = scratch();
        put(&dir, "SKILL.md", "x");
        let free = json!({"id": "a", "path": dir.dir()});
        let mut confined = free.clone();
        confined["sandbox"] = Sandbox::nothing().json();
        for pair in [[&free, &confined], [&confined, &free]] {
            let error = client.err("capabilityRoots/discoverV1", json!({"roots": pair}));
            assert!(error.code == -32602 || error.code == -32603, "{error:?}");
        }
    }

    fn what_makes_no_sense_is_refused(client) {
        let good = "file:///tmp";
        let many = vec![json!(["a"]); 129];
        let long = vec!["a"; 65];
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
                json!({"cwd": good, "configPaths": [], "requirementsPaths": many}),
                "at most 128 paths of 64 keys can be asked for",
            ),
            (
                "environmentConfig/read",
                json!({"cwd": good, "configPaths": [long], "requirementsPaths": []}),
                "at most 128 paths of 64 keys can be asked for",
            ),
            (
                "environmentConfig/read",
                json!({"cwd": "x", "configPaths": [["a"]], "requirementsPaths": []}),
                "invalid URI: relative URL without a base",
            ),
            (
                "environmentConfig/read",
                json!({"cwd": "file://host/x", "configPaths": [["a"]], "requirementsPaths": []}),
                "'file://host/x' is invalid on 'linux'",
            ),
            ("capabilityRoots/discoverV1", json!({}), "missing field `roots`"),
            ("capabilityRoots/discoverV1", json!({"roots": [{"id": "a"}]}), "missing field `path`"),
            (
                "capabilityRoots/discoverV1",
                json!({"roots": [{"id": "a", "path": "x"}]}),
                "invalid URI: relative URL without a base",
            ),
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
        let many = vec![json!({"id": "a", "path": good}); 129];
        let error = client.err("capabilityRoots/discoverV1", json!({"roots": many}));
        assert_eq!(error.code, -32600);
        assert_eq!(error.message, "capability root discovery accepts at most 128 roots");
        for cwd in ["file:///tmp", "/tmp", "file://host/x"] {
            let found = client.ok("capabilities/discoverV2", json!({"cwd": cwd}));
            assert_eq!(found, json!({"plugins": [], "skills": [], "warnings": []}));
        }
    }

    fn all_texts_of_an_answer_have_a_limit_together(client) {
        let dir = scratch();
        for number in 0..20 {
            put(&dir, &format!("{number:02}/SKILL.md"), vec![b'x'; 1_000_000]);
        }
        let both = json!([{"id": "a", "path": dir.dir()}, {"id": "b", "path": dir.dir()}]);
        let found = roots(client, both);
        assert_eq!(found[0]["skills"].as_array().unwrap().len(), 16);
        assert_eq!(found[1]["skills"].as_array().unwrap().len(), 0);
        let warning = "capability root bundle exceeds the 16777216-byte limit";
        assert_eq!(found[1]["warnings"][0], warning);
    }

    fn lists_without_end_cost_no_more_than_their_message(client) {
        const MIB: usize = 1 << 20;
        let before = peak_resident(client.server_pid());
        let paths = vec!["[\"a\"]"; 6 * MIB].join(",");
        let keys = vec!["\"a\""; 8 * MIB].join(",");
        let roots = vec!["{\"id\":\"\",\"path\":\"/\"}"; MIB].join(",");
        for (method, params) in [
            ("environmentConfig/read", format!("{{\"cwd\":\"/\",\"configPaths\":[{paths}],\"requirementsPaths\":[]}}")),
            ("environmentConfig/read", format!("{{\"cwd\":\"/\",\"configPaths\":[[{keys}]],\"requirementsPaths\":[]}}")),
            ("capabilityRoots/discoverV1", format!("{{\"roots\":[{roots}]}}")),
        ] {
            client.send(&format!("{{\"id\":\"long\",\"method\":\"{method}\",\"params\":{params}}}"));
            client.answer("long").unwrap_err();
        }
        let grown = peak_resident(client.server_pid()) - before;
        assert!(grown < 100 << 10, "{grown} KiB");
    }
}

#[test]
fn only_what_is_there_is_announced() {
    let mut client = Client::stdio();
    let info = client.ok("environment/info", json!(null));
    assert_eq!(info["capabilities"]["environmentConfigRead"], true);
    assert_eq!(info["capabilities"]["capabilityDiscoverySandbox"], true);
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
