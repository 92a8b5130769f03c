//! Arguments as they arrive: unknown keys are ignored, and what is there is checked whole.

use serde::de::DeserializeOwned;
use symphony_wire::{service, BusError, Code};

use crate::faults::{short, Faults};

pub trait Request: DeserializeOwned {
    /// Every fault that can be seen without the member's state.
    fn check(&self, faults: &mut Faults);

    fn read(body: &[u8]) -> Result<Self, BusError> {
        let request: Self = service::parse(body)?;
        let mut faults = Faults::default();
        request.check(&mut faults);
        faults.finish().map(|()| request)
    }
}

/// The answer to a method that the capability does not have.
pub fn no_method(capability: &str, method: &str) -> BusError {
    let message = format!("{capability} has no method {:?}", short(method));
    BusError::new(Code::BadRequest, message).at("method")
}

/// Implements [`Request`]: `requests! { Type |it, faults| check; ... }`.
#[macro_export]
macro_rules! requests {
    ($($name:ident $check:expr;)*) => {$(
        impl $crate::Request for $name {
            fn check(&self, faults: &mut $crate::Faults) {
                let check: fn(&Self, &mut $crate::Faults) = $check;
                check(self, faults);
            }
        }
    )*};
}
