//! What a server tells of its machine.

use serde_json::json;

use super::super::case::Case;

const CONFIG: &str = "environmentConfig/read";
const ROOTS: &str = "capabilityRoots/discoverV1";
const CAPABILITIES: &str = "capabilities/discoverV2";

pub fn cases() -> Vec<Case> {
    vec![
        Case::ask("environment/info", "with null", json!(null)).facts(),
        Case::ask("environment/info", "with nothing in it", json!({})).facts(),
        Case::ask("environment/info", "too early", json!(null)).silent(),
        Case::ask("environment/status", "with null", json!(null)),
        Case::ask("environment/status", "with nothing in it", json!({})),
        Case::ask("environment/status", "too early", json!(null)).silent(),
        Case::ask(
            CONFIG,
            "as the client asks",
            json!({"cwd": "@", "configPaths": [["mcp_servers"]], "requirementsPaths": [["mcp_servers"]]}),
        )
        .facts(),
        Case::ask(CONFIG, "for nothing", json!({"cwd": "@", "configPaths": [], "requirementsPaths": []})),
        Case::ask(CONFIG, "without anything", json!({})),
        Case::ask(ROOTS, "of nothing", json!({"roots": []})),
        Case::ask(ROOTS, "of an empty directory", json!({"roots": [{"id": "r", "path": "@empty"}]})),
        Case::ask(ROOTS, "of a plugin", json!({"roots": [{"id": "r", "path": "@plug"}]})),
        Case::ask(ROOTS, "in a plugin", json!({"roots": [{"id": "r", "path": "@plug/skills"}]})),
        Case::ask(
            ROOTS,
            "of what is no directory",
            json!({"roots": [{"id": "a", "path": "@f.txt"}, {"id": "b", "path": "@nowhere"}]}),
        ),
        Case::ask(
            ROOTS,
            "of too many",
            json!({"roots": vec![json!({"id": "r", "path": "@empty"}); 129]}),
        ),
        Case::ask(ROOTS, "a bad sandbox", json!({"roots": [{"id": "r", "path": "@", "sandbox": {}}]})),
        Case::ask(ROOTS, "without anything", json!({})),
        Case::ask(CAPABILITIES, "of an empty directory", json!({"cwd": "@empty"})).facts(),
        Case::ask(CAPABILITIES, "without anything", json!({})),
    ]
}
