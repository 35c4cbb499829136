//! What goes wrong on demand: each fault is spent on the first request that it is for.

use std::time::Duration;

use hyper::Method;

/// Whether Ganeti gets the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accept {
    /// It does not.
    No,
    /// It does, at once.
    Yes,
    /// It does, so much later; the answer does not wait for it.
    After(Duration),
}

/// What the client gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The right answer, so much later.
    Late(Duration),
    /// The end of the connection.
    Cut,
    /// Words of no protocol.
    Garbage,
    /// A page of a proxy's, 502.
    BadGateway,
    /// Nothing, as long as it waits.
    Never,
    /// A refusal in Ganeti's form.
    Refused {
        /// HTTP status.
        status: u16,
        /// Ganeti's words.
        message: String,
    },
}

/// What goes wrong, once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// On which method; `None`: on any that changes something.
    pub method: Option<Method>,
    /// What the path begins with.
    pub path: String,
    /// Whether Ganeti gets the request.
    pub accept: Accept,
    /// What the client gets.
    pub reply: Reply,
}

impl Fault {
    /// One on the next request that makes a job.
    #[must_use]
    pub fn on_submission(accept: Accept, reply: Reply) -> Self {
        Self {
            method: None,
            path: String::from("/2/"),
            accept,
            reply,
        }
    }

    /// One on the next question about something below a path.
    #[must_use]
    pub fn on_question(path: &str, reply: Reply) -> Self {
        Self {
            method: Some(Method::GET),
            path: path.to_owned(),
            accept: Accept::Yes,
            reply,
        }
    }

    /// Whether it is for this request.
    #[must_use]
    pub fn is_for(&self, method: &Method, path: &str) -> bool {
        let of_method = match &self.method {
            Some(wanted) => wanted == method,
            None => *method != Method::GET,
        };
        of_method && path.starts_with(&self.path)
    }
}
