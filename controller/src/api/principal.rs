//! Who asks: told by the token in `X-Auth-Token`, never by anything else of a request.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use tokio::time::Instant;
use uuid::Uuid;

use super::fault::Fault;
use super::frame::Seat;
use super::rate;
use crate::cloud::{self, Cloud};
use crate::db::audit::Actor;
use crate::db::tokens::{self, Bearer};
use crate::secret::digest;

/// What a user may be in a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Everything.
    Admin,
    /// Everything in the project.
    Member,
    /// To look.
    Reader,
}

impl Role {
    /// All, the mightiest first.
    pub const ALL: [Self; 3] = [Self::Admin, Self::Member, Self::Reader];

    /// The column's and the API's text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Member => "member",
            Self::Reader => "reader",
        }
    }

    /// The role of this name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }
}

/// Number of a request: `req-<uuid>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(pub String);

/// Who asks, in a project. In a route's arguments it refuses whoever has no token (401), or none for a project (403).
#[derive(Debug, Clone)]
pub struct Principal {
    /// The user's row.
    pub user_id: i64,
    /// The user, to the API: written [`Uuid::simple`].
    pub user_uuid: Uuid,
    /// The user's name.
    pub user_name: String,
    /// The project's row.
    pub project_id: i64,
    /// The project, to the API: written [`Uuid::simple`].
    pub project_uuid: Uuid,
    /// What the user is there.
    pub roles: Vec<Role>,
    /// The request.
    pub request_id: String,
    /// Address it came from.
    pub source: String,
}

impl Principal {
    /// It, as the audit calls it.
    #[must_use]
    pub fn actor(&self) -> Actor {
        Actor {
            user_id: Some(self.user_id),
            name: self.user_name.clone(),
            project_id: Some(self.project_id),
            source: self.source.clone(),
            request_id: self.request_id.clone(),
        }
    }

    /// Whether it is an administrator.
    #[must_use]
    pub fn is_admin(&self) -> bool {
        self.roles.contains(&Role::Admin)
    }

    /// Lets pass whoever may change things in its project.
    ///
    /// # Errors
    /// It may only look.
    pub fn writes(&self) -> Result<(), Fault> {
        if self.roles.contains(&Role::Admin) || self.roles.contains(&Role::Member) {
            return Ok(());
        }
        Err(Fault::Forbidden(String::from(
            "your role in this project lets you look, not change",
        )))
    }

    /// Lets pass administrators.
    ///
    /// # Errors
    /// It is none.
    pub fn administers(&self) -> Result<(), Fault> {
        if self.is_admin() {
            return Ok(());
        }
        Err(not_allowed())
    }
}

/// Who asks, whether or not in a project.
#[derive(Debug, Clone)]
pub struct Caller {
    /// What the token says.
    pub bearer: Bearer,
    /// The request.
    pub request_id: String,
    /// Address it came from.
    pub source: String,
}

impl Caller {
    /// Whether it is an administrator.
    #[must_use]
    pub fn is_admin(&self) -> bool {
        self.bearer.roles.contains(&Role::Admin)
    }

    /// Lets pass administrators.
    ///
    /// # Errors
    /// It is none.
    pub fn administers(&self) -> Result<(), Fault> {
        if self.is_admin() {
            return Ok(());
        }
        Err(not_allowed())
    }

    /// It, as the audit calls it.
    #[must_use]
    pub fn actor(&self) -> Actor {
        Actor {
            user_id: Some(self.bearer.user.id),
            name: self.bearer.user.name.clone(),
            project_id: self.bearer.project.as_ref().map(|project| project.id),
            source: self.source.clone(),
            request_id: self.request_id.clone(),
        }
    }
}

fn not_allowed() -> Fault {
    Fault::Forbidden(String::from(
        "policy does not allow this request to be performed",
    ))
}

/// The token a request is made with.
#[must_use]
pub fn token_of(parts: &Parts) -> Option<&str> {
    parts.headers.get("x-auth-token")?.to_str().ok()
}

/// The number the frame gave a request.
#[must_use]
pub fn request_id_of(parts: &Parts) -> String {
    let id = parts.extensions.get::<RequestId>();
    id.map_or_else(String::new, |id| id.0.clone())
}

/// The address a request came from: the peer's, or what a proxy of ours says ([`crate::config::Api::proxies`]).
#[must_use]
pub fn source_of(parts: &Parts, proxies: &[IpAddr]) -> String {
    let Some(ConnectInfo(peer)) = parts.extensions.get::<ConnectInfo<SocketAddr>>() else {
        return String::from("local");
    };
    let peer = peer.ip().to_canonical();
    if !proxies.contains(&peer) {
        return peer.to_string();
    }
    let lines = parts.headers.get_all("x-forwarded-for");
    let named = lines.iter().filter_map(|line| line.to_str().ok());
    let mut named: Vec<&str> = named.flat_map(|line| line.split(',')).collect();
    // Each proxy adds who it was asked by: the last that is none of ours is the one that cannot lie about itself.
    while let Some(last) = named.pop() {
        match last.trim().parse::<IpAddr>() {
            Ok(address) if proxies.contains(&address.to_canonical()) => {}
            Ok(address) => return address.to_canonical().to_string(),
            Err(_) => break,
        }
    }
    peer.to_string()
}

impl FromRequestParts<Cloud> for Caller {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, cloud: &Cloud) -> Result<Self, Fault> {
        if let Some(known) = parts.extensions.get::<Self>() {
            return Ok(known.clone());
        }
        let token = token_of(parts).ok_or_else(Fault::unauthorized)?;
        let found = tokens::bearer(cloud.db.reader(), &digest(token), cloud::now()).await?;
        let bearer = found.ok_or_else(Fault::unauthorized)?;
        let allowed = cloud.rates.requests.take(bearer.token_id, Instant::now());
        allowed.map_err(|wait| {
            cloud.metrics.rate_limited.inc();
            Fault::TooMany {
                seconds: rate::seconds(wait),
            }
        })?;
        let caller = Self {
            bearer,
            request_id: request_id_of(parts),
            source: source_of(parts, &cloud.config.api.proxies),
        };
        if let Some(seat) = parts.extensions.get::<Seat>() {
            // Nobody else sits down there.
            let _ = seat.0.set(caller.actor());
        }
        parts.extensions.insert(caller.clone());
        Ok(caller)
    }
}

impl FromRequestParts<Cloud> for Principal {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, cloud: &Cloud) -> Result<Self, Fault> {
        let caller = Caller::from_request_parts(parts, cloud).await?;
        let project = caller.bearer.project.ok_or_else(|| {
            Fault::Forbidden(String::from("the token is not scoped to a project"))
        })?;
        Ok(Self {
            user_id: caller.bearer.user.id,
            user_uuid: caller.bearer.user.uuid,
            user_name: caller.bearer.user.name,
            project_id: project.id,
            project_uuid: project.uuid,
            roles: caller.bearer.roles,
            request_id: caller.request_id,
            source: caller.source,
        })
    }
}
