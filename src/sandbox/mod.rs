//! Confining what a client starts, and what its file requests touch.
//!
//! Three steps, each with a type of its own, and no step looks back:
//!
//! * [`policy`]: what a client permits. JSON is read once into a [`policy::Policy`] of canonical paths; every question
//!   about a path is answered from it.
//! * [`mounts`]: how the file system has to look for that. A [`mounts::MountPlan`] lists mounts in their order and holds
//!   a descriptor on each thing that is mounted, so that nothing can be swapped between the check and the mount.
//! * [`bwrap`]: the plan in the words of one launcher. The embedded one is in [`bundled`]. What bwrap has no words for, our
//!   own first process in the sandbox does ([`inside`]), in a [`domain`] of Landlock as a second wall.
//!
//! A plan that needs mount points on the host borrows them through the [`journal`], which takes them away again, also when
//! this process is killed. When a command has failed, [`denial`] says whether it was for its sandbox. A client that puts a
//! sandbox into the command line instead is understood by [`helper_form`].

pub mod bundled;
pub mod bwrap;
pub mod denial;
pub mod domain;
pub mod helper_form;
pub mod inside;
pub mod journal;
pub mod launcher;
pub mod mounts;
pub mod policy;
pub mod preset;
#[cfg(test)]
mod scratch;
pub mod seccomp;
