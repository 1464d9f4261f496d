//! The HTTPS side of the webhooks.

use std::collections::BTreeSet;

use bytes::Bytes;
use polynic_api::admission::Rules;
use polynic_runtime::http::{self, Answer, Handler, Method, Request, StatusCode};

use super::review::{self, Kind};
use super::world::World;

/// Where probes ask whether webhooks are served.
pub const HEALTH_PATH: &str = "/webhook-health-check";

/// Answers reviews of the kinds that are in use. A path of another kind is not found, so that writes of that kind fail.
pub struct Webhooks<W> {
    /// Where other objects come from.
    pub world: W,
    /// Switches that rules depend on.
    pub rules: Rules,
    /// The kinds that are in use.
    pub kinds: BTreeSet<Kind>,
    /// Whether pods get networks by the group they name.
    pub pods: bool,
}

impl<W: World + 'static> Handler for Webhooks<W> {
    async fn handle(&self, request: Request<Bytes>) -> Answer {
        let path = request.uri().path();
        if path == HEALTH_PATH {
            return http::empty(StatusCode::OK);
        }
        if path == review::POD_PATH && self.pods {
            return review_pod(request.body(), &self.world).await;
        }
        let Some((step, kind)) = review::of_path(path).filter(|(_, kind)| self.kinds.contains(kind)) else {
            return http::text(StatusCode::NOT_FOUND, "404 page not found\n");
        };
        if *request.method() != Method::POST {
            return http::text(StatusCode::METHOD_NOT_ALLOWED, "POST only\n");
        }
        match review::read(request.body()) {
            Ok(question) => {
                let answer = review::answer(step, kind, &question, (&self.world, self.rules)).await;
                http::json(StatusCode::OK, &answer)
            }
            Err(why) => no_review(&why),
        }
    }
}

async fn review_pod<W: World>(body: &[u8], world: &W) -> Answer {
    match review::read(body) {
        Ok(question) => http::json(StatusCode::OK, &review::answer_pod(&question, world).await),
        Err(why) => no_review(&why),
    }
}

fn no_review(why: &serde_json::Error) -> Answer {
    http::text(StatusCode::BAD_REQUEST, format!("this is no admission review: {why}\n"))
}
