//! Why a file request failed, with what its error tells programs.

use crate::env::local::files::FileError;
use crate::rpc::error::{ErrorData, RpcError};

/// The step at which a request fails that the file system refuses.
pub(in crate::serve) const OPERATION: &str = "operation";

/// An error, and the kernel's number for it where there is one.
pub(super) struct Fault {
    error: RpcError,
    errno: Option<i32>,
}

impl Fault {
    /// The error of a request under a policy, about `path`.
    pub(super) fn with_data(self, path: String) -> RpcError {
        self.error.with_data(ErrorData {
            stage: OPERATION,
            errno: self.errno,
            path: Some(path),
            hint: None,
            rule: None,
        })
    }

    /// The error of any other: what the reference says, and no more.
    pub(super) fn plain(self) -> RpcError {
        self.error
    }
}

impl From<FileError> for Fault {
    fn from(error: FileError) -> Self {
        let errno = match &error {
            FileError::System(error) => error.raw_os_error(),
            _ => None,
        };
        Self {
            error: error.into(),
            errno,
        }
    }
}

impl From<RpcError> for Fault {
    fn from(error: RpcError) -> Self {
        Self { error, errno: None }
    }
}
