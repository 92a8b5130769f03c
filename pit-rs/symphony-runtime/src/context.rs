//! What a player's function is given besides its arguments, and files that pass by reference.

use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use symphony_wire::body::{self, Activate, Progress};
use symphony_wire::service::reply;
use symphony_wire::{BusError, Code, Header, Kind};

use crate::asking::Reply;
use crate::calls::{self, after, encode, Bus};
use crate::mailbox::Mailbox;
use crate::outgoing::{fits, Outgoing};
use crate::worker::{Command, Desk, Instance};
use crate::{trace, Ask, Body, Stream};

/// A file by reference: `{"$file": PATH}`, relative to the call's own folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    #[serde(rename = "$file")]
    pub path: String,
}

/// A folder by reference: `{"$folder": PATH}`, relative to the call's own folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Folder {
    #[serde(rename = "$folder")]
    pub path: String,
}

/// One call, as the function that serves it sees it.
pub struct Context {
    pub(crate) header: Header,
    pub(crate) origin: body::Context,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) instance: Arc<Instance>,
    pub(crate) trace: OnceLock<Option<String>>,
}

impl Context {
    /// Tells the caller how far this call is, in whatever unit; `None`: the total is not known.
    pub fn progress(&self, done: f64, total: Option<f64>, message: &str) {
        self.report(|told| {
            (told.done, told.total, told.message) = (done, total, message.to_owned());
        });
    }

    /// Reports what this call has used up, such as `tokens`, on top of what it reported before: it is charged however
    /// the call ends.
    pub fn spend(&self, resource: &str, amount: u64) {
        self.report(|told| {
            let spent = told.spent.entry(resource.to_owned()).or_default();
            *spent = spent.saturating_add(amount);
        });
    }

    fn report(&self, change: impl FnOnce(&mut Progress)) {
        self.mailbox.report(change, |told| self.say(Kind::Progress, body::write(told)));
    }

    /// Sends a part of the answer. Waits while the caller has not taken the parts before; fails when it no longer wants
    /// any. A caller that did not ask for parts gets none.
    pub fn chunk<T: Serialize>(&self, value: &T) -> Result<(), BusError> {
        self.check()?;
        if !self.mailbox.streams() {
            return Ok(());
        }
        let body = reply(value)?;
        fits(&body, self.desk().max_body, Code::WrongOutput, "chunk")?;
        self.mailbox.take_credit()?;
        self.say(Kind::Chunk, body);
        Ok(())
    }

    /// Calls another capability within this call's deadline, in the same trace. Ends early when this call does.
    pub fn call<'a, R: DeserializeOwned>(
        &self,
        ask: impl Into<Ask<'a>>,
        arguments: &impl Serialize,
    ) -> Result<R, BusError> {
        let ask = self.below(ask.into())?;
        calls::call(&mut Remote(self), ask, encode(arguments)?)
    }

    /// As [`Context::call`], for an answer in chunks.
    pub fn stream<'a, T: DeserializeOwned>(
        &'a self,
        ask: impl Into<Ask<'a>>,
        arguments: &impl Serialize,
    ) -> Result<Stream<'a, T>, BusError> {
        let ask = self.below(ask.into())?;
        Stream::open(Box::new(Remote(self)), ask, encode(arguments)?)
    }

    /// Publishes an event; the hub drops it if this player may not.
    pub fn publish(&self, topic: &str, value: &impl Serialize) -> Result<(), BusError> {
        self.event(topic, value, false)
    }

    /// As [`Context::publish`]; the hub sends it to later subscribers as well, until there is a newer one.
    pub fn publish_kept(&self, topic: &str, value: &impl Serialize) -> Result<(), BusError> {
        self.event(topic, value, true)
    }

    fn event(&self, topic: &str, value: &impl Serialize, keep: bool) -> Result<(), BusError> {
        let body = encode(value)?.into();
        let outgoing = Outgoing::event(topic, keep, body, self.desk().max_body)?;
        self.desk().handover.want(Command::Say(outgoing));
        Ok(())
    }

    /// The W3C `traceparent` of this call; its own calls continue it. `None` only if the caller gave none and the system
    /// gives no random bytes.
    pub fn trace(&self) -> Option<&str> {
        self.trace.get_or_init(|| self.header.trace.clone().or_else(trace::begin)).as_deref()
    }

    /// Pauses for so long; fails as soon as nobody waits for this call any more.
    pub fn wait(&self, time: Duration) -> Result<(), BusError> {
        self.mailbox.pause(after(Some(time)))
    }

    /// Whether nobody waits for this call any more: cancelled, or its deadline is over.
    pub fn cancelled(&self) -> bool {
        self.check().is_err()
    }

    /// [`Context::cancelled`] as an error, for `?` in loops.
    pub fn check(&self) -> Result<(), BusError> {
        self.mailbox.check()
    }

    /// When the caller stops waiting.
    pub fn deadline(&self) -> Option<Instant> {
        self.mailbox.deadline()
    }

    /// How long the caller still waits.
    pub fn remaining(&self) -> Option<Duration> {
        calls::left(self.deadline())
    }

    fn desk(&self) -> &Desk {
        &self.instance.desk
    }

    fn say(&self, kind: Kind, body: Vec<u8>) {
        let header = self.header.answer(kind);
        self.desk().handover.want(Command::Say(Outgoing { header, body: body.into() }));
    }

    /// A call that this one makes: it ends no later, and is a span below.
    fn below<'a>(&self, mut ask: Ask<'a>) -> Result<Ask<'a>, BusError> {
        self.check()?;
        ask.limit = [ask.limit, self.remaining()].into_iter().flatten().min();
        ask.trace = ask.trace.or_else(|| trace::child(self.trace()));
        Ok(ask)
    }

    /// Run, step, attempt and parameters of this call, as far as the caller named them.
    pub fn origin(&self) -> &body::Context {
        &self.origin
    }

    /// What this instance was configured with.
    pub fn activation(&self) -> &Activate {
        &self.instance.activate
    }

    /// This call's own folder of inputs.
    pub fn inbox(&self) -> Result<PathBuf, BusError> {
        self.folder(self.instance.inbox.as_deref())
    }

    /// This call's own folder for outputs, made if it is not there yet.
    pub fn outbox(&self) -> Result<PathBuf, BusError> {
        let folder = self.folder(self.instance.outbox.as_deref())?;
        fs::create_dir_all(&folder).map_err(|error| {
            BusError::new(Code::Io, format!("failed to make the outbox: {error}"))
                .at(folder.display().to_string())
        })?;
        Ok(folder)
    }

    /// The bytes of a file among the arguments.
    pub fn read(&self, file: &File) -> Result<Vec<u8>, BusError> {
        let path = inside(&self.inbox()?, &file.path)?;
        fs::read(&path).map_err(|error| {
            BusError::new(Code::Io, format!("failed to read an input: {error}")).at(&file.path)
        })
    }

    /// Writes a file into the outbox; the reference goes into the result.
    pub fn write(&self, path: &str, bytes: &[u8]) -> Result<File, BusError> {
        let target = inside(&self.outbox()?, path)?;
        let write = || {
            target.parent().map_or(Ok(()), fs::create_dir_all)?;
            fs::write(&target, bytes)
        };
        write().map_err(|error| {
            BusError::new(Code::Io, format!("failed to write an output: {error}")).at(path)
        })?;
        Ok(File { path: path.to_owned() })
    }

    fn folder(&self, base: Option<&Path>) -> Result<PathBuf, BusError> {
        let base =
            base.ok_or_else(|| BusError::new(Code::Refused, "this instance has no folders"))?;
        match &self.origin.folder {
            Some(folder) => inside(base, folder),
            None => Ok(base.to_owned()),
        }
    }
}

/// The bus as a function has it, through the thread that owns the socket.
struct Remote<'a>(&'a Context);

impl Bus for Remote<'_> {
    fn open(&mut self, mut header: Header, body: Body) -> Result<u64, BusError> {
        self.0.check()?;
        let request = self.0.desk().numbers.next();
        header.request = request;
        let ttl = (header.ttl > 0).then(|| Duration::from_millis(u64::from(header.ttl)));
        let replies = Arc::clone(&self.0.mailbox);
        self.0.desk().handover.want(Command::Ask { header, body, deadline: after(ttl), replies });
        Ok(request)
    }

    fn reply(&mut self, request: u64, until: Option<Instant>) -> Result<Option<Reply>, BusError> {
        self.0.mailbox.reply(request, until)
    }

    fn credit(&mut self, request: u64, chunks: u32) -> Result<(), BusError> {
        self.0.desk().handover.want(Command::Credit(request, chunks));
        Ok(())
    }

    fn abandon(&mut self, request: u64) {
        self.0.desk().handover.want(Command::Abandon(request));
    }

    fn pause(&mut self, time: Duration) -> Result<(), BusError> {
        self.0.wait(time)
    }
}

/// `base` joined with a relative path that has no `..` and no empty part.
fn inside(base: &Path, path: &str) -> Result<PathBuf, BusError> {
    let plain = !path.split('/').any(str::is_empty)
        && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    if plain {
        Ok(base.join(path))
    } else {
        Err(BusError::new(Code::BadRequest, "not a path below the call's folder").at(path))
    }
}
