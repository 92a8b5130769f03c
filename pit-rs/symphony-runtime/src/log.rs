//! The log of a peer: one JSON object a line on stderr. What is logged while a call is served says its `trace`.

use std::cell::RefCell;
use std::fmt;

use tracing::{Event, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::{Format, Json, JsonFields, Writer};
use tracing_subscriber::fmt::{
    format, FmtContext, FormatEvent, FormatFields, MakeWriter, SubscriberBuilder,
};
use tracing_subscriber::registry::LookupSpan;

use crate::trace::is_valid;

thread_local! {
    /// Of the call that this thread serves.
    static TRACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Sends everything logged through `tracing` to stderr.
pub fn log_to_stderr() {
    // A second call finds a subscriber already there, which is as good.
    let _ = log_to(std::io::stderr).try_init();
}

fn log_to<W>(writer: W) -> SubscriberBuilder<JsonFields, Traced, LevelFilter, W>
where
    W: for<'a> MakeWriter<'a> + 'static,
{
    let log = tracing_subscriber::fmt().fmt_fields(JsonFields::new());
    log.event_format(Traced(format().json())).with_writer(writer)
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io;
    use std::sync::mpsc::{channel, Sender};

    use super::*;

    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    struct Lines(Sender<String>);

    impl io::Write for Lines {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0.send(String::from_utf8_lossy(line).into_owned()).map_err(io::Error::other)?;
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_is_logged_while_a_call_is_served_says_its_trace() {
        let (sender, lines) = channel();
        let log = log_to(move || Lines(sender.clone())).finish();
        tracing::subscriber::with_default(log, || {
            serving(Some(TRACE), || tracing::info!(words = 2, "during"));
            serving(None, || tracing::info!("untraced"));
            serving(Some("\"no trace\""), || tracing::info!("not a trace"));
            tracing::info!("after");
        });
        let lines: Vec<serde_json::Value> =
            lines.try_iter().map(|line| serde_json::from_str(&line).unwrap()).collect();
        let traces: Vec<_> = lines.iter().map(|line| line.get("trace")).collect();
        assert_eq!(traces, [Some(&TRACE.into()), None, None, None]);
        assert_eq!(lines[0]["fields"]["words"], 2);
    }
}
