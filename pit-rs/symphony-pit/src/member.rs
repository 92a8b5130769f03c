//! One member of the Pit as a process. Exit codes: 0 ended cleanly, 2 usage, 3 sent away, 5 no hub or an
//! incompatible one, 6 the store cannot be opened.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{value_parser, Arg, Command};
use symphony_runtime::{log_to_stderr, serve, RuntimeError, Stop, Ticket};
use symphony_wire::service::Service;
use symphony_wire::{BusError, PROTOCOL};

use crate::lock;

/// What tells the members apart.
pub struct Member {
    /// Name of the binary.
    pub name: &'static str,
    pub about: &'static str,
    pub capability: &'static str,
    /// Opens or makes the store.
    pub open: fn(&Path) -> Result<Box<dyn Service>, BusError>,
}

/// Exit code and what is printed with it.
struct Failure {
    code: u8,
    what: String,
    help: String,
}

impl From<BusError> for Failure {
    fn from(error: BusError) -> Self {
        let place = error.where_.map(|place| format!(" ({place})")).unwrap_or_default();
        Self {
            code: 6,
            what: format!("{}{place}", error.message),
            help: error
                .help
                .unwrap_or_else(|| "see that the store is whole and readable".to_owned()),
        }
    }
}

impl From<RuntimeError> for Failure {
    fn from(error: RuntimeError) -> Self {
        Self { code: error.exit_code(), what: error.to_string(), help: error.help().to_owned() }
    }
}

/// The whole life of the process.
pub fn run(member: &Member, arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let store = match parse(member, arguments) {
        Ok(store) => store,
        Err(error)
            if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) =>
        {
            print!("{error}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            let text = error.to_string();
            eprintln!("{}", text.lines().next().unwrap_or_default());
            eprintln!("help: {} --help", member.name);
            return ExitCode::from(2);
        }
    };
    log_to_stderr();
    match work(member, &store) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { code, what, help }) => {
            eprintln!("error: {what}");
            eprintln!("help: {help}");
            ExitCode::from(code)
        }
    }
}

fn parse(
    member: &Member,
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<PathBuf, clap::Error> {
    let store = Arg::new("store")
        .long("store")
        .value_name("DIR")
        .required(true)
        .value_parser(value_parser!(PathBuf))
        .help("Folder that holds the store; made if it is not there");
    let mut matches = Command::new(member.name)
        .about(member.about)
        .version(format!("{} (protocol {PROTOCOL})", env!("CARGO_PKG_VERSION")))
        .arg(store)
        .try_get_matches_from(arguments)?;
    Ok(matches.remove_one("store").unwrap_or_default())
}

fn work(member: &Member, store: &Path) -> Result<(), Failure> {
    // Signals are heeded from here on: a long recovery ends before it joins.
    let stop = Stop::on_signals()?;
    let ticket = Ticket::load().map_err(RuntimeError::from)?;
    let _lock = lock::take(store)?;
    let mut service = (member.open)(store)?;
    serve(&ticket, member.capability, service.as_mut(), &stop)?;
    Ok(())
}
