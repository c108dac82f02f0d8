/// Why a request has no answer, or no good one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("there is no such node")]
    NoNode,
    #[error("the node exists already")]
    NodeExists,
    #[error("the node has changed meanwhile")]
    BadVersion,
    #[error("the node has children")]
    NotEmpty,
    #[error("ZooKeeper refuses access to the node: check user and password of the zk url")]
    NoAuth,
    #[error("the quota of the path is used up")]
    Quota,
    #[error("ZooKeeper answered with error {0}")]
    Refused(i32),
    #[error("the request of {0} bytes is larger than ZooKeeper takes")]
    TooLarge(usize),
    #[error("the connection to ZooKeeper was lost before the answer came")]
    ConnectionLost,
    #[error("ZooKeeper did not answer in time")]
    Timeout,
    #[error("the ZooKeeper session has expired")]
    Expired,
    #[error("ZooKeeper refuses our credentials")]
    AuthFailed,
    #[error("the ZooKeeper client was closed")]
    Closed,
    #[error("ZooKeeper sent something that cannot be understood: {0}")]
    Malformed(&'static str),
    #[error("no ZooKeeper server can be reached ({0})")]
    Unreachable(String),
}

impl Error {
    /// Whether what was asked may have happened all the same.
    pub fn is_unknown(&self) -> bool {
        matches!(self, Error::ConnectionLost | Error::Timeout | Error::Malformed(_))
    }

    /// From the error codes of the protocol.
    pub(crate) fn of_code(code: i32) -> Error {
        match code {
            -101 => Error::NoNode,
            -102 => Error::NoAuth,
            -103 => Error::BadVersion,
            -110 => Error::NodeExists,
            -111 => Error::NotEmpty,
            -112 | -118 => Error::Expired,
            -115 => Error::AuthFailed,
            -125 => Error::Quota,
            // The server lost the request on its own way to the leader.
            -4 => Error::ConnectionLost,
            -7 => Error::Timeout,
            other => Error::Refused(other),
        }
    }
}
