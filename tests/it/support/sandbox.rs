//! What a client says about confinement, and a server that confines.

mod policy;
mod stage;

pub use policy::{Generation, Sandbox};
pub use stage::{LAUNCHERS, Launcher, SECRET, Stage, Who, lacking, snapshot};

use std::os::unix::fs::MetadataExt;

/// A user without rights or a home, whom root can become.
pub const ORDINARY: u32 = 12345;

/// Whether the tests run as root.
pub fn is_root() -> bool {
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

/// Makes a test of each body for every launcher and, where the tests run as root, for an ordinary user too. The body gets
/// the [`Stage`]; where it cannot be set up here, the test says so and ends.
macro_rules! on_every_launcher {
    ($($(#[$meta:meta])* fn $name:ident($stage:ident) $body:block)*) => {$(
        $(#[$meta])*
        mod $name {
            #[allow(unused_imports)]
            use super::*;
            use $crate::support::sandbox::{Launcher, Stage, Who};

            fn behaviour($stage: &mut Stage) $body

            fn on(launcher: Launcher, who: Who) {
                if let Some(mut stage) = Stage::set(launcher, who) {
                    behaviour(&mut stage);
                }
            }

            #[test]
            fn system() {
                on(Launcher::System, Who::Myself);
            }

            #[test]
            fn system_as_another() {
                on(Launcher::System, Who::Another);
            }

            #[test]
            fn bundled() {
                on(Launcher::Bundled, Who::Myself);
            }

            #[test]
            fn bundled_as_another() {
                on(Launcher::Bundled, Who::Another);
            }

            #[test]
            fn landlock() {
                on(Launcher::Landlock, Who::Myself);
            }

            #[test]
            fn landlock_as_another() {
                on(Launcher::Landlock, Who::Another);
            }
        }
    )*};
}
