//! Typed errors of the bus: what happened, whose fault it is, where, and what to do (PROTOCOL section 5).

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

/// Who must change something so that it works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    Caller,
    Provider,
    Kernel,
    Environment,
}

/// The codes of the protocol; an unknown one is read as [`Code::Failed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    BadRequest,
    NotFound,
    Conflict,
    Refused,
    Unavailable,
    Overloaded,
    Deadline,
    Cancelled,
    Crashed,
    WrongOutput,
    Io,
    Corrupt,
    Protocol,
    Internal,
    #[serde(other)]
    Failed,
}

impl Code {
    /// Whose fault it is unless the error says otherwise.
    pub fn default_fault(self) -> Fault {
        match self {
            Self::BadRequest
            | Self::NotFound
            | Self::Conflict
            | Self::Refused
            | Self::Cancelled => Fault::Caller,
            Self::Unavailable | Self::Overloaded | Self::Io | Self::Corrupt => Fault::Environment,
            Self::Deadline | Self::Crashed | Self::Failed | Self::WrongOutput | Self::Protocol => {
                Fault::Provider
            }
            Self::Internal => Fault::Kernel,
        }
    }

    /// The code as the wire has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad-request",
            Self::NotFound => "not-found",
            Self::Conflict => "conflict",
            Self::Refused => "refused",
            Self::Unavailable => "unavailable",
            Self::Overloaded => "overloaded",
            Self::Deadline => "deadline",
            Self::Cancelled => "cancelled",
            Self::Crashed => "crashed",
            Self::Failed => "failed",
            Self::WrongOutput => "wrong-output",
            Self::Io => "io",
            Self::Corrupt => "corrupt",
            Self::Protocol => "protocol",
            Self::Internal => "internal",
        }
    }
}

/// One error as it travels: build it with [`BusError::new`] and the methods that add to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BusError {
    pub code: Code,
    /// What happened, one sentence.
    pub message: String,
    pub fault: Fault,
    /// A field, a file and line, a limit.
    #[serde(rename = "where", skip_serializing_if = "Option::is_none")]
    pub where_: Option<String>,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// Try again no sooner than in this many milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u32>,
    /// The provider's own name for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// The hub's word that the same call may be made again without a second effect.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub repeatable: bool,
}

impl BusError {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            fault: code.default_fault(),
            where_: None,
            help: None,
            retry_after_ms: None,
            class: None,
            repeatable: false,
        }
    }

    /// Says that another than the code's usual side is at fault.
    pub fn fault(mut self, fault: Fault) -> Self {
        self.fault = fault;
        self
    }

    /// Names the place.
    pub fn at(mut self, place: impl Into<String>) -> Self {
        self.where_ = Some(place.into());
        self
    }

    pub fn help(mut self, remedy: impl Into<String>) -> Self {
        self.help = Some(remedy.into());
        self
    }

    pub fn retry_after_ms(mut self, milliseconds: u32) -> Self {
        self.retry_after_ms = Some(milliseconds);
        self
    }

    pub fn class(mut self, name: impl Into<String>) -> Self {
        self.class = Some(name.into());
        self
    }

    pub fn repeatable(mut self) -> Self {
        self.repeatable = true;
        self
    }

    /// The body of an *error* message.
    pub fn to_body(&self) -> Vec<u8> {
        crate::body::write(self)
    }

    /// Reads the body of an *error* message. One that is no such body is itself an error, of code `protocol`.
    pub fn from_body(body: &[u8]) -> Self {
        crate::body::read(body).unwrap_or_else(|error| {
            Self::new(Code::Protocol, format!("an error arrived whose body is not one: {error}"))
        })
    }
}

impl<'de> Deserialize<'de> for BusError {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// Anything else counts as not said.
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum ReadFlag {
            Known(bool),
            Unknown(serde::de::IgnoredAny),
        }
        /// A side that a later version may add counts as not said.
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum ReadFault {
            Known(Fault),
            Unknown(serde::de::IgnoredAny),
        }
        #[derive(Deserialize)]
        struct Body {
            code: Code,
            message: String,
            fault: Option<ReadFault>,
            #[serde(rename = "where")]
            where_: Option<String>,
            help: Option<String>,
            retry_after_ms: Option<u32>,
            class: Option<String>,
            repeatable: Option<ReadFlag>,
        }
        let body = Body::deserialize(deserializer)?;
        Ok(Self {
            code: body.code,
            message: body.message,
            fault: match body.fault {
                Some(ReadFault::Known(fault)) => fault,
                Some(ReadFault::Unknown(_)) | None => body.code.default_fault(),
            },
            where_: body.where_,
            help: body.help,
            retry_after_ms: body.retry_after_ms,
            class: body.class,
            repeatable: matches!(body.repeatable, Some(ReadFlag::Known(true))),
        })
    }
}

impl fmt::Display for BusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.message)?;
        self.where_.as_ref().map_or(Ok(()), |place| write!(f, " ({place})"))
    }
}

impl std::error::Error for BusError {}
