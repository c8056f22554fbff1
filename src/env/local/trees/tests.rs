//! What takes a kernel that drops events, or a client that is full.

use std::fs;
use std::sync::Mutex;
use std::time::Duration;

use super::*;
use crate::env::local::bounds::Bounds;
use crate::env::local::changes::Notice;
use crate::rpc::transport::Offer;

type Told = Arc<Mutex<Vec<String>>>;

struct Fixture {
    root: PathBuf,
    trees: Trees,
    told: Told,
    room: Arc<Mutex<bool>>,
}

impl Fixture {
    /// A recursive watch of an empty directory.
    fn new(name: &str) -> Self {
        let root = std::env::temp_dir().join(format!("trees-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(&root).unwrap();
        let mut fixture = Self {
            trees: Trees::new(Arc::new(WakeEvent::new().unwrap())).unwrap(),
            told: Told::default(),
            room: Arc::new(Mutex::new(true)),
            root,
        };
        fixture.watch("id");
        fixture
    }

    fn watch(&mut self, id: &str) {
        let (told, room) = (Arc::clone(&self.told), Arc::clone(&self.room));
        let top = self.root.clone();
        let watch = TreeWatch {
            id: id.to_owned(),
            root: self.root.clone(),
            bounds: Bounds::default(),
            is_recursive: true,
            answer: Box::new(|begun| begun.unwrap()),
            report: Box::new(move |notice, _| {
                if !*room.lock().unwrap() {
                    return Offer::Full;
                }
                let mut told = told.lock().unwrap();
                match notice {
                    Notice::Overflow => told.push("overflow".to_owned()),
                    Notice::Changes(changes) => told.extend(changes.iter().map(|change| {
                        let path = change.path.strip_prefix(&top).unwrap();
                        format!("{:?} {}", change.kind, path.display())
                    })),
                }
                Offer::Taken
            }),
        };
        self.trees.watch(1, watch);
    }

    fn make(&self, directory: &str) {
        fs::create_dir_all(self.root.join(directory)).unwrap();
    }

    /// All that is reported of what has happened until now.
    fn told(&mut self) -> Vec<String> {
        self.trees.take_changes().unwrap();
        self.trees.report(Instant::now() + Duration::from_secs(1));
        std::mem::take(&mut self.told.lock().unwrap())
    }

    /// Lets the kernel drop what has happened, and say so.
    fn drop_events(&mut self) {
        self.trees.inotify.take(|_| {}).unwrap();
        let watch = *self.trees.places.keys().next().unwrap();
        self.trees.handle(&Event {
            watch,
            what: OVERFLOW,
            cookie: 0,
            name: OsString::new(),
        });
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

#[test]
fn after_lost_events_the_tree_is_watched_as_it_is() {
    let mut fixture = Fixture::new("lost");
    fixture.make("moved/below");
    fixture.make("gone");
    assert_eq!(
        fixture.told(),
        ["Created moved", "Created moved/below", "Created gone"]
    );
    let root = fixture.root.clone();
    fs::rename(root.join("moved"), root.join("here")).unwrap();
    fs::remove_dir(root.join("gone")).unwrap();
    fixture.make("new/deep");
    fixture.drop_events();
    assert_eq!(fixture.told(), ["overflow"]);
    assert_eq!(fixture.trees.places.len(), 5);
    for directory in ["here/below/x", "new/deep/y"] {
        fixture.make(directory);
    }
    assert_eq!(
        fixture.told(),
        ["Created here/below/x", "Created new/deep/y"]
    );
    fs::remove_dir_all(&root).unwrap();
    fixture.drop_events();
    assert_eq!(fixture.told(), ["overflow", "Removed "]);
    assert!(fixture.trees.trees.is_empty() && fixture.trees.places.is_empty());
}

#[test]
fn a_full_client_is_told_when_it_has_room() {
    let mut fixture = Fixture::new("full");
    *fixture.room.lock().unwrap() = false;
    fixture.make("a");
    assert!(fixture.trees.due().is_none());
    assert!(fixture.told().is_empty());
    assert!(fixture.trees.due().is_none(), "nothing is due without room");
    fs::remove_dir_all(&fixture.root).unwrap();
    assert!(fixture.told().is_empty());
    *fixture.room.lock().unwrap() = true;
    assert!(
        fixture.told().is_empty(),
        "not asked again before it says so"
    );
    fixture.trees.retry();
    assert_eq!(fixture.told(), ["Created a", "Removed a", "Removed "]);
    assert!(fixture.trees.trees.is_empty());
}

#[test]
fn trees_share_watches_and_end_alone() {
    let mut fixture = Fixture::new("share");
    fixture.make("a/b");
    assert_eq!(fixture.told().len(), 2);
    fixture.watch("other");
    assert_eq!(fixture.trees.places.len(), 3);
    fixture.trees.unwatch(1, "id");
    assert_eq!(fixture.trees.places.len(), 3);
    fixture.make("a/b/c");
    assert_eq!(fixture.told(), ["Created a/b/c"]);
    fixture.trees.forget(1).unwrap();
    assert!(fixture.trees.places.is_empty() && fixture.trees.trees.is_empty());
}
