//! Links that change while sandboxes are set up.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::sandbox::{Launcher, Sandbox, Stage, Who, snapshot};

/// How often a sandbox is started while links change.
const STARTS: usize = 1000;
/// Of so many starts, one has peace: where swaps are fast and starts slow, all others may be refused.
const PEACE: usize = 25;

/// Takes turns of `turn` until `work` is done.
fn meanwhile(mut turn: impl FnMut() + Send, work: impl FnOnce()) {
    struct End<'a>(&'a AtomicBool);
    impl Drop for End<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                turn();
            }
        });
        // Also if the work fails, or the scope would wait for ever.
        let _end = End(&over);
        work();
    });
}

/// What a program inside changes in one turn: what the policy covers is now a directory, now a link to the outside.
fn swap(place: &str, aside: &str, outside: &str) {
    let _ = fs::rename(place, aside);
    let _ = symlink(outside, place);
    let _ = fs::remove_file(place);
    let _ = fs::rename(aside, place);
}

/// Starts under a policy about `place`, each trying to write behind it, while it is swapped.
fn attack(launcher: Launcher, who: Who, starts: usize, policy: impl Fn(&Sandbox, &str) -> Sandbox) {
    let Some(mut stage) = Stage::set(launcher, who) else {
        return;
    };
    let (outside, place, aside) = (
        stage.path("outside"),
        stage.path("workspace/place"),
        stage.path("workspace/aside"),
    );
    for name in ["outside", "workspace/place"] {
        stage.make_directory(&format!("{name}/deep"));
        stage.make_file(&format!("{name}/file"), "untouched");
        stage.make_file(&format!("{name}/deep/file"), "untouched");
    }
    let before = snapshot(&outside);
    let policy = policy(&stage.policy(), &place);
    let (file, deep, fresh) = (
        format!("{place}/file"),
        format!("{place}/deep/file"),
        format!("{place}/deep/fresh"),
    );
    let attempts = ["write", &file, "--", "write", &deep, "--", "mkdirs", &fresh];
    let (mut ran, mut refused) = (0, 0);
    let turn = Mutex::new(());
    meanwhile(
        || {
            let own = turn.lock().unwrap();
            swap(&place, &aside, &outside);
            drop(own);
            std::thread::yield_now();
        },
        || {
            for start in 0..starts {
                let _peace = start.is_multiple_of(PEACE).then(|| turn.lock().unwrap());
                let start = stage.attempt(&attempts).with("sandbox", policy.json());
                let id = start.id();
                match stage.client.request("process/start", start.0) {
                    Ok(_) => {
                        stage.client.closed(&id);
                        ran += 1;
                    }
                    Err(_) => refused += 1,
                }
            }
        },
    );
    assert_eq!(
        snapshot(&outside),
        before,
        "{launcher} as {who:?}, {ran} ran, {refused} refused"
    );
    assert!(ran > 0, "all {refused} were refused");
}

fn protected(launcher: Launcher, who: Who, starts: usize) {
    if launcher == Launcher::Landlock {
        // It can take nothing away inside the workspace; what is swapped is what it permits.
        return attack(launcher, who, starts, |policy, place| {
            policy.clone().write(place)
        });
    }
    attack(launcher, who, starts, |policy, place| {
        policy.clone().read(place).write(&format!("{place}/deep"))
    });
}

#[test]
fn links_swapped_during_a_thousand_starts_lead_nowhere() {
    protected(Launcher::Bundled, Who::Myself, STARTS);
}

#[test]
fn links_swapped_during_starts_lead_nowhere_for_another() {
    protected(Launcher::Bundled, Who::Another, STARTS / 4);
}

#[test]
fn links_swapped_during_starts_lead_nowhere_with_the_system_bwrap() {
    protected(Launcher::System, Who::Myself, STARTS / 4);
}

#[test]
fn links_swapped_during_starts_lead_nowhere_with_landlock() {
    protected(Launcher::Landlock, Who::Myself, STARTS / 4);
}

on_every_launcher! {
    fn links_to_the_outside_give_nothing(stage) {
        let outside = stage.path("outside");
        let workspace = stage.workspace();
        stage.make_file("outside/file", "untouched");
        symlink(&outside, format!("{workspace}/door")).unwrap();
        symlink("../outside/file", format!("{workspace}/way")).unwrap();
        symlink("..", format!("{workspace}/up")).unwrap();
        let before = snapshot(&outside);
        let policy = stage.policy();
        for way in ["door/new", "door/file", "way", "up/outside/new", "door/../outside/new", "door/../workspace/../outside/new", "up/../../../../../../etc/exec-server-test"] {
            stage.refuses(&policy, &["write", &format!("{workspace}/{way}")]);
        }
        assert_eq!(snapshot(&outside), before);
        stage.works_free(&["write", &format!("{workspace}/door/../outside/new")]);
    }

    fn a_root_behind_a_link_is_the_directory_itself(stage) {
        let workspace = stage.workspace();
        let link = stage.path("link");
        symlink(&workspace, &link).unwrap();
        let policy = if stage.launcher == Launcher::Landlock {
            stage.policy().write(&link)
        } else {
            Sandbox::workspace(&link)
        };
        stage.allows(&policy, &["write", &format!("{link}/new")]);
        assert_eq!(fs::read_to_string(format!("{workspace}/new")).unwrap(), "changed");
        stage.refuses(&policy, &["write", &stage.path("outside/new")]);
    }
}
