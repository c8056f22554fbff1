//! MCP servers that the client lets run on the remote, and speaks to by `process/write`.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use super::super::remote::HOSTNAME;
use super::super::stage::Stage;

/// A server of one tool, which tells where it runs.
const SERVER: &str = r#"#!/bin/sh
while IFS= read -r line; do
  id=$(printf '%s' "$line" | sed -n 's/.*"id":\([0-9]*\).*/\1/p')
  case $line in
  *'"method":"initialize"'*)
    result='{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"t","version":"1"}}' ;;
  *'"method":"tools/list"'*)
    result='{"tools":[{"name":"where","description":"Says where.","inputSchema":{"type":"object","properties":{}}}]}' ;;
  *'"method":"tools/call"'*)
    result='{"content":[{"type":"text","text":"it runs on '$(uname -n)'"}]}' ;;
  *) result='{}' ;;
  esac
  [ -z "$id" ] || printf '{"jsonrpc":"2.0","id":%s,"result":%s}\n' "$id" "$result"
done
"#;

/// The client starts the server on the remote, and the model calls its tool there.
pub fn called(stage: &mut Stage) {
    stage.put("server.sh", SERVER);
    let mode = Permissions::from_mode(0o755);
    std::fs::set_permissions(stage.disk.join("server.sh"), mode).expect("it was just written");
    stage.configure(&format!(
        "[mcp_servers.t]\ncommand = {:?}\ncwd = {:?}\nenvironment_id = \"far\"\nrequired = true\n",
        stage.work.join("server.sh"),
        stage.work
    ));
    let mut turn = stage.begin();
    let told = turn.mcp("t", "where");
    assert!(told.contains(&format!("it runs on {HOSTNAME}")), "{told}");
    turn.finish();
}
