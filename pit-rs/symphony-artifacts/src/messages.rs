//! Arguments and replies of `pit.artifacts/1` as they are on the wire.

use serde::{Deserialize, Serialize};

use crate::backup::Damage;
use crate::curation::Citation;
use crate::folder::Member;
use crate::info::{Info, Kind, Made};
use crate::openlineage::Event;
use crate::relative::RelativePath;
use crate::store::{Edge, Node, Put};
use crate::Reference;

#[derive(Serialize)]
pub(crate) struct Nothing {}

#[derive(Deserialize)]
pub(crate) struct PutArguments {
    #[serde(with = "serde_bytes")]
    pub data: Vec<u8>,
    pub name: Option<String>,
    pub media: Option<String>,
    pub made: Option<Made>,
    pub ts: String,
    pub by: Option<String>,
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
    pub by: Option<String>,
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
    pub by: Option<String>,
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
    pub by: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct StageArguments {
    pub folder: String,
    pub items: Vec<StageItem>,
    #[serde(default)]
    pub mode: StageMode,
    pub by: Option<String>,
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
    pub by: Option<String>,
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

#[derive(Deserialize)]
pub(crate) struct VerifyArguments {
    pub after: Option<Reference>,
    pub limit: Option<u64>,
}

#[derive(Serialize)]
pub(crate) struct VerifyReply {
    pub blobs: u64,
    pub bytes: u64,
    pub bad: Vec<Reference>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locked: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broken: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<Reference>,
}

#[derive(Deserialize)]
pub(crate) struct BeginArguments {
    #[serde(rename = "ref")]
    pub reference: Reference,
    pub bytes: u64,
    pub name: Option<String>,
    pub media: Option<String>,
    pub made: Option<Made>,
    pub ts: Option<String>,
    pub by: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct Begun {
    pub upload: String,
}

#[derive(Deserialize)]
pub(crate) struct PartArguments {
    pub upload: String,
    pub offset: u64,
    #[serde(with = "serde_bytes")]
    pub data: Vec<u8>,
}

#[derive(Deserialize)]
pub(crate) struct CommitArguments {
    pub upload: String,
    pub by: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct Committed {
    #[serde(rename = "ref")]
    pub reference: Reference,
    pub bytes: u64,
}

#[derive(Deserialize)]
pub(crate) struct ConfigureArguments {
    pub grace_s: Option<u64>,
    pub by: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct Configured {
    pub digest: String,
}

#[derive(Deserialize)]
pub(crate) struct MarkArguments {
    pub refs: Vec<Reference>,
    pub why: String,
    pub ts: String,
    pub by: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct Marked {
    pub marked: u64,
}

#[derive(Deserialize)]
pub(crate) struct RefsArguments {
    pub refs: Vec<Reference>,
    pub ts: String,
    pub by: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct SweepArguments {
    pub refs: Vec<Reference>,
    pub proofs: Vec<Citation>,
    pub ts: String,
    pub by: Option<String>,
}

/// A content and bytes of it.
#[derive(Serialize)]
pub(crate) struct Piled {
    #[serde(rename = "ref")]
    pub reference: Reference,
    pub bytes: u64,
}

#[derive(Serialize)]
pub(crate) struct Swept {
    pub freed: Vec<Piled>,
    pub revived: Vec<Reference>,
}

#[derive(Deserialize)]
pub(crate) struct PackArguments {
    pub refs: Vec<Reference>,
    pub by: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct Packed {
    pub packed: Vec<Piled>,
}

#[derive(Deserialize)]
pub(crate) struct RotateArguments {
    pub after: Option<String>,
    pub by: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct RotateReply {
    pub files: u64,
    pub bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct TagArguments {
    #[serde(rename = "ref")]
    pub reference: Reference,
    #[serde(default)]
    pub add: Vec<String>,
    #[serde(default)]
    pub remove: Vec<String>,
    pub ts: String,
    pub by: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct Tagged {
    pub tags: Vec<String>,
}

#[derive(Deserialize)]
pub(crate) struct TagsArguments {
    #[serde(rename = "ref")]
    pub reference: Option<Reference>,
    pub after: Option<String>,
    #[serde(default = "default_list")]
    pub limit: usize,
}

#[derive(Serialize)]
pub(crate) struct TagCount {
    pub tag: String,
    pub artifacts: u64,
}

#[derive(Serialize)]
pub(crate) struct Tags {
    pub tags: Vec<TagCount>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct ScoreArguments {
    #[serde(rename = "ref")]
    pub reference: Reference,
    pub structure: Option<u64>,
    pub semantics: Option<u64>,
    pub utility: Option<u64>,
    pub ts: String,
    pub by: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct ScoreReply {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quality: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub structure: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub semantics: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub utility: Option<u64>,
    pub uses: u64,
}

#[derive(Deserialize)]
pub(crate) struct UseArguments {
    #[serde(rename = "ref")]
    pub reference: Reference,
    pub by: String,
    pub ts: String,
}

#[derive(Serialize)]
pub(crate) struct Used {
    pub uses: u64,
}

#[derive(Deserialize)]
pub(crate) struct VersionsArguments {
    pub name: String,
    pub before: Option<u64>,
    #[serde(default = "default_list")]
    pub limit: usize,
}

#[derive(Serialize)]
pub(crate) struct VersionReply {
    pub version: u64,
    #[serde(rename = "ref")]
    pub reference: Reference,
    pub created: String,
    pub there: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub info: Option<Info>,
}

#[derive(Serialize)]
pub(crate) struct Versions {
    pub versions: Vec<VersionReply>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

#[derive(Deserialize)]
pub(crate) struct DiffArguments {
    pub a: Reference,
    pub b: Reference,
    #[serde(default = "default_context")]
    pub context: usize,
    pub by: Option<String>,
}

fn default_context() -> usize {
    3
}

#[derive(Serialize)]
pub(crate) struct DiffReply {
    pub same: bool,
    pub diff: String,
    pub added: u64,
    pub removed: u64,
    pub more: bool,
}

#[derive(Deserialize)]
pub(crate) struct LineageArguments {
    #[serde(rename = "ref")]
    pub reference: Reference,
    #[serde(default = "default_depth")]
    pub depth: usize,
    #[serde(default)]
    pub way: LineageWay,
    #[serde(default)]
    pub format: LineageFormat,
}

fn default_depth() -> usize {
    10
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LineageWay {
    #[default]
    Both,
    Inputs,
    Outputs,
}

#[derive(Default, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LineageFormat {
    #[default]
    Graph,
    Openlineage,
}

#[derive(Serialize)]
pub(crate) struct NodeReply {
    #[serde(rename = "ref")]
    pub reference: Reference,
    pub depth: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    pub there: bool,
}

impl From<Node> for NodeReply {
    fn from(Node { reference, depth, name, bytes, there }: Node) -> Self {
        Self { reference, depth, name, bytes, there }
    }
}

#[derive(Serialize)]
pub(crate) struct EdgeReply {
    pub from: Reference,
    pub to: Reference,
    pub made: Made,
}

impl From<Edge> for EdgeReply {
    fn from(Edge { from, to, made }: Edge) -> Self {
        Self { from, to, made }
    }
}

#[derive(Serialize)]
pub(crate) struct LineageReply {
    pub nodes: Vec<NodeReply>,
    pub edges: Vec<EdgeReply>,
    pub more: bool,
}

#[derive(Serialize)]
pub(crate) struct OpenLineage {
    pub events: Vec<Event>,
    pub more: bool,
}

#[derive(Deserialize)]
pub(crate) struct SearchArguments {
    pub name: Option<String>,
    pub tag: Option<String>,
    pub player: Option<String>,
    pub quality: Option<u64>,
    pub text: Option<String>,
    #[serde(default = "default_search")]
    pub limit: usize,
    pub after: Option<String>,
}

fn default_search() -> usize {
    20
}

#[derive(Serialize)]
pub(crate) struct SearchItem {
    #[serde(flatten)]
    pub info: Info,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fit: Option<u64>,
}

#[derive(Serialize)]
pub(crate) struct Searched {
    pub artifacts: Vec<SearchItem>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct AuditArguments {
    #[serde(default)]
    pub after: u64,
    #[serde(default = "default_list")]
    pub limit: usize,
}

#[derive(Serialize)]
pub(crate) struct AuditLink {
    pub number: u64,
    pub at: String,
    pub method: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    pub refs: Vec<Reference>,
    pub hash: String,
}

#[derive(Serialize)]
pub(crate) struct Audited {
    pub records: Vec<AuditLink>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

#[derive(Deserialize)]
pub(crate) struct BackupArguments {
    pub id: String,
    pub to: String,
    pub ts: Option<String>,
    pub by: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct BackupReply {
    pub artifacts: u64,
    pub bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub damaged: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub named: Vec<Damage>,
}
