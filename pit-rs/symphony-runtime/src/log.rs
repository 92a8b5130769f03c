//! The log of a peer: one JSON object a line on stderr. What is logged while a call is served says its `trace`.

use std::cell::RefCell;
use std::fmt;

use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{Format, Json, JsonFields, Writer};
use tracing_subscriber::fmt::{format, FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::trace::is_valid;

thread_local! {
    /// Of the call that this thread serves.
    static TRACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Sends everything logged through `tracing` to stderr.
pub fn log_to_stderr() {
    let log = tracing_subscriber::fmt()
        .fmt_fields(JsonFields::new())
        .event_format(Traced(format().json()))
        .with_writer(std::io::stderr);
    // A second call finds a subscriber already there, which is as good.
    let _ = log.try_init();
}

/// Does what is to be done for a call with this trace. `serve` does not panic.
pub fn serving<T>(trace: Option<&str>, serve: impl FnOnce() -> T) -> T {
    if trace.is_none() {
        return serve();
    }
    TRACE.set(trace.map(str::to_owned));
    let served = serve();
    TRACE.set(None);
    served
}

/// A line with the trace at its end.
struct Traced(Format<Json>);

impl<S, N> FormatEvent<S, N> for Traced
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        TRACE.with_borrow(|trace| {
            // Of a valid one no character has a meaning in JSON.
            let Some(trace) = trace.as_deref().filter(|trace| is_valid(trace)) else {
                return self.0.format_event(context, writer, event);
            };
            let mut line = String::new();
            self.0.format_event(context, Writer::new(&mut line), event)?;
            match line.strip_suffix("}\n") {
                Some(open) => writeln!(writer, "{open},\"trace\":\"{trace}\"}}"),
                None => writer.write_str(&line),
            }
        })
    }
}
