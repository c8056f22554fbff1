//! What the client does with files itself, not by commands.

use super::super::stage::Stage;
use support::decode;

/// A red pixel.
const PNG: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC";

pub fn patch(stage: &mut Stage) {
    stage.put("changed.txt", "one\ntwo\nthree\n");
    stage.put("moved.txt", "alpha\nbeta\n");
    stage.put("deleted.txt", "gone soon\n");
    let mut turn = stage.begin();
    let told = turn.patch(
        "*** Begin Patch\n\
         *** Add File: new/deep/added ü.txt\n\
         +added\n\
         +lines\n\
         *** Update File: changed.txt\n\
         @@\n \
         one\n\
         -two\n\
         +TWO\n \
         three\n\
         *** Update File: moved.txt\n\
         *** Move to: elsewhere/moved.txt\n\
         @@\n \
         alpha\n\
         -beta\n\
         +gamma\n\
         *** Delete File: deleted.txt\n\
         *** End Patch",
    );
    let expected = [
        ("new/deep/added ü.txt", Some("added\nlines\n")),
        ("changed.txt", Some("one\nTWO\nthree\n")),
        ("elsewhere/moved.txt", Some("alpha\ngamma\n")),
        ("moved.txt", None),
        ("deleted.txt", None),
    ];
    for (name, content) in expected {
        assert_eq!(
            stage.there(name).as_deref(),
            content,
            "{name} on the remote; the client was told {told}"
        );
        assert!(
            !stage.work.join(name).exists(),
            "{name} is on the client's disk"
        );
    }
    turn.finish();
}

pub fn image(stage: &mut Stage) {
    stage.put("pixel.png", decode(PNG));
    let mut turn = stage.begin();
    let output = turn.view_image(&stage.work.join("pixel.png"));
    assert!(
        output
            .to_string()
            .contains(&format!("data:image/png;base64,{PNG}")),
        "{output:.1000}"
    );
    turn.finish();
}
