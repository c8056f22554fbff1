//! What the client looks for before it asks its model anything.

use serde_json::json;

use super::super::stage::Stage;

/// Instructions and skills are the remote's, and the client's own in the same place are not.
pub fn found(stage: &mut Stage) {
    stage.put("AGENTS.md", "Remember the word heliotrope.\n");
    stage.decoy("AGENTS.md", "Remember the word decoyinstructions.\n");
    let skill = |word: &str| {
        format!("---\nname: {word}\ndescription: Use it to {word} things.\n---\nHow to {word}.\n")
    };
    stage.put(".agents/skills/far/SKILL.md", skill("remoteskill"));
    stage.decoy(".agents/skills/near/SKILL.md", skill("decoyskill"));
    let mut turn = stage.begin();
    let context = turn.first["input"].to_string();
    assert!(context.contains("heliotrope"), "AGENTS.md is not found");
    assert!(context.contains("remoteskill"), "the skill is not found");
    for decoy in ["decoyinstructions", "decoyskill"] {
        assert!(
            !context.contains(decoy),
            "{decoy} comes from the client's disk"
        );
    }
    let told = turn.exec(json!({"cmd": "cat .agents/skills/far/SKILL.md"}));
    assert!(told.contains("How to remoteskill"), "{told}");
    turn.finish();
}
