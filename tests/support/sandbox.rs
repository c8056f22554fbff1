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

/// Makes a test of each body for every launcher, as whoever runs the tests and as an ordinary user. The body gets the
/// [`Stage`]; where it cannot be set up here, the test is skipped.
#[macro_export]
macro_rules! on_every_launcher {
    ($($items:tt)*) => { $crate::on_launchers! { tests_on_every_launcher; $($items)* } };
}

/// The same for the launchers that make namespaces: of what Landlock cannot do, or has no need of.
#[macro_export]
macro_rules! on_every_bwrap {
    ($($items:tt)*) => { $crate::on_launchers! { tests_on_every_bwrap; $($items)* } };
}

/// The same for Landlock alone.
#[macro_export]
macro_rules! on_landlock {
    ($($items:tt)*) => { $crate::on_launchers! { tests_on_landlock; $($items)* } };
}

/// The same for an ordinary user alone: of what root may do, or cannot be kept from.
#[macro_export]
macro_rules! as_another_on_every_launcher {
    ($($items:tt)*) => { $crate::on_launchers! { tests_as_another_on_every_launcher; $($items)* } };
}

/// The same for the launchers that make namespaces.
#[macro_export]
macro_rules! as_another_on_every_bwrap {
    ($($items:tt)*) => { $crate::on_launchers! { tests_as_another_on_every_bwrap; $($items)* } };
}

#[doc(hidden)]
#[macro_export]
macro_rules! on_launchers {
    ($tests:ident; $($(#[$meta:meta])* fn $name:ident($stage:ident) $body:block)*) => {$(
        $(#[$meta])*
        mod $name {
            #[allow(unused_imports)]
            use super::*;
            use $crate::sandbox::{Launcher, Stage, Who};

            fn behaviour($stage: &mut Stage) $body

            fn on(launcher: Launcher, who: Who) {
                if let Some(mut stage) = Stage::set(launcher, who) {
                    behaviour(&mut stage);
                }
            }

            $crate::$tests!();
        }
    )*};
}

#[doc(hidden)]
#[macro_export]
macro_rules! tests_on_every_launcher {
    () => {
        $crate::tests_on_every_bwrap!();
        $crate::tests_on_landlock!();
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! tests_on_landlock {
    () => {
        #[test]
        fn landlock() {
            on(Launcher::Landlock, Who::Myself);
        }

        #[test]
        fn landlock_as_another() {
            on(Launcher::Landlock, Who::Another);
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! tests_on_every_bwrap {
    () => {
        $crate::tests_as_another_on_every_bwrap!();

        #[test]
        fn system() {
            on(Launcher::System, Who::Myself);
        }

        #[test]
        fn bundled() {
            on(Launcher::Bundled, Who::Myself);
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! tests_as_another_on_every_launcher {
    () => {
        $crate::tests_as_another_on_every_bwrap!();

        #[test]
        fn landlock_as_another() {
            on(Launcher::Landlock, Who::Another);
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! tests_as_another_on_every_bwrap {
    () => {
        #[test]
        fn system_as_another() {
            on(Launcher::System, Who::Another);
        }

        #[test]
        fn bundled_as_another() {
            on(Launcher::Bundled, Who::Another);
        }
    };
}
