//! What this program says about itself.

/// Name and version, as in `exec-server 0.1.0`.
pub fn short() -> String {
    concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")).to_owned()
}

/// The short version.
pub fn verbose() -> String {
    short()
}
