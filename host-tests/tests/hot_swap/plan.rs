//! Which swap comes when: every kind in turn, sound and broken ones mixed.

/// Which filter is swapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    JwtAuth,
    TenantGuard,
}

/// What changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Another header for the upstream, in jwt-auth.
    Configuration,
    /// Another build of jwt-auth, with another configuration.
    Module,
    /// A tenant comes or goes.
    Directory,
    /// A rule asks for a scope, or does not.
    Rule,
    BadJson,
    UnknownField,
    TruncatedModule,
    /// The module traps when it is configured.
    Trap,
    KeysMissing,
    /// The directory has two tenants of one name.
    BadDirectory,
    /// The file itself is cut in the middle.
    CutFile,
}

/// The order: a sound swap, then broken ones that must change nothing.
const TURN: [Kind; 12] = [
    Kind::Configuration,
    Kind::BadJson,
    Kind::Module,
    Kind::TruncatedModule,
    Kind::Directory,
    Kind::UnknownField,
    Kind::Rule,
    Kind::Trap,
    Kind::Configuration,
    Kind::KeysMissing,
    Kind::BadDirectory,
    Kind::CutFile,
];

/// One swap.
#[derive(Clone, Copy, Debug)]
pub struct Swap {
    pub number: usize,
    pub kind: Kind,
}

impl Swap {
    /// The swap with this number, from 1.
    pub fn of(number: usize) -> Self {
        Self { number, kind: TURN[(number - 1) % TURN.len()] }
    }

    /// Whether Envoy must take it.
    pub fn is_sound(&self) -> bool {
        matches!(self.kind, Kind::Configuration | Kind::Module | Kind::Directory | Kind::Rule)
    }

    pub fn target(&self) -> Target {
        match self.kind {
            Kind::Directory | Kind::BadDirectory => Target::TenantGuard,
            _ => Target::JwtAuth,
        }
    }

    /// What the log must say against it, beside that it was refused.
    pub fn reason(&self) -> &'static str {
        match self.kind {
            Kind::BadJson | Kind::UnknownField | Kind::KeysMissing | Kind::BadDirectory => {
                "configuration refused: "
            }
            Kind::TruncatedModule | Kind::Trap => "Unable to create Wasm",
            Kind::CutFile => "Filesystem config update",
            Kind::Configuration | Kind::Module | Kind::Directory | Kind::Rule => "",
        }
    }
}
