//! Arguments and replies of `pit.artifacts/1` as they are on the wire.

use serde::{Deserialize, Serialize};

use crate::folder::Member;
use crate::info::{Info, Kind, Made};
use crate::relative::RelativePath;
use crate::store::Put;
use crate::Reference;

#[derive(Deserialize)]
pub(crate) struct PutArguments {
    #[serde(with = "serde_bytes")]
    pub data: Vec<u8>,
    pub name: Option<String>,
    pub media: Option<String>,
    pub made: Option<Made>,
    pub ts: String,
}

#[derive(Deserialize)]
pub(crate) struct PutItem {
    #[serde(with = "serde_bytes")]
    pub data: Vec<u8>,
    pub name: Option<String>,
    pub media: Option<String>,
    pub made: Option<Made>,
}

#[derive(Deserialize)]
pub(crate) struct PutManyArguments {
    pub items: Vec<PutItem>,
    pub ts: String,
}

#[derive(Serialize)]
pub(crate) struct PutReply {
    #[serde(rename = "ref")]
    pub reference: Reference,
    pub bytes: u64,
    pub new: bool,
}

impl From<Put> for PutReply {
    fn from(Put { reference, bytes, new }: Put) -> Self {
        Self { reference, bytes, new }
    }
}

#[derive(Deserialize)]
pub(crate) struct GetArguments {
    #[serde(rename = "ref")]
    pub reference: Reference,
    #[serde(default)]
    pub offset: u64,
    #[serde(default = "default_piece")]
    pub limit: usize,
}

fn default_piece() -> usize {
    262_144
}

#[derive(Serialize)]
pub(crate) struct GetReply {
    #[serde(with = "serde_bytes")]
    pub data: Vec<u8>,
    pub bytes: u64,
    pub kind: Kind,
    pub more: bool,
}

#[derive(Deserialize)]
pub(crate) struct StatArguments {
    pub refs: Vec<Reference>,
}

#[derive(Deserialize)]
pub(crate) struct ListArguments {
    pub name: Option<String>,
    pub run: Option<String>,
    pub step: Option<String>,
    pub player: Option<String>,
    #[serde(default = "default_list")]
    pub limit: usize,
    pub after: Option<String>,
}

fn default_list() -> usize {
    100
}

#[derive(Serialize)]
pub(crate) struct Artifacts {
    pub artifacts: Vec<Info>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct ListingArguments {
    #[serde(rename = "ref")]
    pub reference: Reference,
}

#[derive(Deserialize)]
pub(crate) struct StageArguments {
    pub folder: String,
    pub items: Vec<StageItem>,
    #[serde(default)]
    pub mode: StageMode,
}

#[derive(Deserialize)]
pub(crate) struct StageItem {
    #[serde(rename = "ref")]
    pub reference: Reference,
    pub path: String,
}

#[derive(Default, Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum StageMode {
    #[default]
    ReadOnly,
    Writable,
}

#[derive(Serialize)]
pub(crate) struct Staged {
    pub path: RelativePath,
    pub bytes: u64,
    pub kind: Kind,
}

#[derive(Deserialize)]
pub(crate) struct CollectArguments {
    pub folder: String,
    pub items: Vec<CollectItem>,
    pub made: Option<Made>,
    #[serde(default)]
    pub limits: CollectLimits,
    pub ts: String,
}

#[derive(Deserialize)]
pub(crate) struct CollectItem {
    pub name: String,
    pub path: String,
    pub media: Option<String>,
}

#[derive(Default, Deserialize)]
pub(crate) struct CollectLimits {
    pub bytes: Option<u64>,
    pub files: Option<u64>,
}

#[derive(Serialize)]
pub(crate) struct CollectReply {
    pub name: String,
    #[serde(rename = "ref")]
    pub reference: Reference,
    pub kind: Kind,
    pub bytes: u64,
    pub files: u64,
    pub new: bool,
}

#[derive(Serialize)]
pub(crate) struct Items<T> {
    pub items: Vec<T>,
}

#[derive(Serialize)]
pub(crate) struct Files {
    pub files: Vec<Member>,
}

#[derive(Serialize)]
pub(crate) struct VerifyReply {
    pub blobs: u64,
    pub bytes: u64,
    pub bad: Vec<Reference>,
}
