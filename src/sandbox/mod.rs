//! Confining what a client starts, and what its file requests touch.
//!
//! Three steps, each with a type of its own, and no step looks back:
//!
//! * [`policy`]: what a client permits. JSON is read once into a [`policy::Policy`] of canonical paths; every question
//!   about a path is answered from it.
//! * [`mounts`]: how the file system has to look for that. A [`mounts::MountPlan`] lists mounts in their order and holds
//!   a descriptor on each thing that is mounted, so that nothing can be swapped between the check and the mount.
//! * [`bwrap`]: the plan in the words of one launcher. The embedded one is in [`bundled`].
//!
//! A plan that needs mount points on the host borrows them through a journal, which takes them away again, also when
//! this process is killed.

pub mod bundled;
pub mod bwrap;
pub mod mounts;
pub mod policy;
#[cfg(test)]
mod scratch;
