//! One member of the Pit as a process. Exit codes: 0 ended cleanly, 2 usage, 3 sent away, 5 no hub or an
//! incompatible one, 6 the store cannot be opened.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{value_parser, Arg, ArgAction, Command};
use rustix::process::{set_parent_process_death_signal, Signal};
use symphony_runtime::{log_to_stderr, serve, RuntimeError, Stop, Ticket};
use symphony_wire::reactor::Reactor;
use symphony_wire::{BusError, Code, PROTOCOL};

use crate::{lock, stores};

/// What tells the members apart.
pub struct Member {
    /// Name of the binary.
    pub name: &'static str,
    pub about: &'static str,
    pub capability: &'static str,
    /// Opens or makes the store.
    pub open: fn(&Path) -> Result<Box<dyn Reactor>, BusError>,
    /// Whether the store is made of journals: then it can be read and copied beside the running member.
    pub journals: bool,
}

/// What the process is started for.
enum Work {
    Serve,
    Check,
    CopyTo(PathBuf),
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
    let (store, work) = match parse(member, arguments) {
        Ok(found) => found,
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
    let done = match work {
        Work::Serve => serve_store(member, &store),
        Work::Check => visit(&store, None),
        Work::CopyTo(to) => visit(&store, Some(&to)),
    };
    match done {
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
) -> Result<(PathBuf, Work), clap::Error> {
    let store = Arg::new("store")
        .long("store")
        .value_name("DIR")
        .required(true)
        .value_parser(value_parser!(PathBuf))
        .help("Folder that holds the store; made if it is not there");
    let mut command = Command::new(member.name)
        .about(member.about)
        .version(format!("{} (protocol {PROTOCOL})", env!("CARGO_PKG_VERSION")))
        .arg(store);
    if member.journals {
        let check = Arg::new("check").long("check").action(ArgAction::SetTrue).help(
            "Read the whole store, whoever uses it, and say a JSON line for each of its files",
        );
        let copy = Arg::new("copy-to")
            .long("copy-to")
            .value_name("DIR")
            .conflicts_with("check")
            .value_parser(value_parser!(PathBuf))
            .help("The same, and copy the store as of now to a folder that is not there yet");
        command = command.arg(check).arg(copy);
    }
    let mut matches = command.try_get_matches_from(arguments)?;
    let path = matches.remove_one("store").unwrap_or_default();
    let work = match (member.journals, member.journals && matches.get_flag("check")) {
        (false, _) => Work::Serve,
        (true, true) => Work::Check,
        (true, false) => matches.remove_one("copy-to").map_or(Work::Serve, Work::CopyTo),
    };
    Ok((path, work))
}

/// It ends with whoever began it: nothing is written to the folder of a backup that was killed.
fn visit(store: &Path, target: Option<&Path>) -> Result<(), Failure> {
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|error| {
        BusError::new(Code::Io, format!("cannot be bound to its parent: {error}"))
    })?;
    Ok(stores::visit(store, target, &mut io::stdout().lock())?)
}

fn serve_store(member: &Member, store: &Path) -> Result<(), Failure> {
    // Signals are heeded from here on: a long recovery ends before it joins.
    let stop = Stop::on_signals()?;
    let ticket = Ticket::load().map_err(RuntimeError::from)?;
    let _lock = lock::take(store)?;
    let mut reactor = (member.open)(store)?;
    serve(&ticket, member.capability, reactor.as_mut(), &stop)?;
    // What waits for a commit that would have come by itself.
    Ok(reactor.flush()?)
}
