//! Ways out of a sandbox, each tried from inside on every launcher.
//!
//! A test makes its attempt without a sandbox first, where that can be done without harm: what does not work there proves
//! nothing by failing inside. Then it makes the attempt inside, and looks at the host.

mod calls;
mod descriptors;
mod files;
mod first_process;
mod host;
mod limits;
mod links;
mod metadata;
mod mounts;
mod namespaces;
mod processes;
mod reading;
mod shared;
mod sockets;
mod terminal;
