//! What somebody who starts a cluster finds in it: objects that an installation makes, or that a story takes for granted.

use std::time::{Duration, Instant};

use kube::Client;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::shape::Shape;
use crate::state::State;
use crate::{api, manifest};

/// What Spiderpool's chart makes by default; the cluster's networks are found in whatever says them.
const COORDINATOR: &str = "
apiVersion: spiderpool.spidernet.io/v2beta1
kind: SpiderCoordinator
metadata: {name: default}
spec: {mode: auto, podCIDRType: cluster}
";
/// How long webhooks may take to answer, on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(120);
/// Time between two attempts.
const PAUSE: Duration = Duration::from_millis(100);

/// Makes what belongs to the shape, and `more`.
pub fn provide(state: &State, shape: &Shape, more: &str) -> Result<()> {
    let objects = objects(shape, more)?;
    if objects.is_empty() {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(Error::io("start the runtime"))?.block_on(async {
        let client = api::client(&state.kubeconfig()).await?;
        for object in &objects {
            make(&client, object).await?;
        }
        Ok(())
    })
}

fn objects(shape: &Shape, more: &str) -> Result<Vec<Value>> {
    let own = if shape.spiderpool { COORDINATOR } else { "" };
    Ok([manifest::parse(own)?, manifest::parse(more)?].concat())
}

/// The controller registers its webhooks a moment before it serves them.
async fn make(client: &Client, object: &Value) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match manifest::apply(client, object, "default").await {
            Ok(_) => return Ok(()),
            Err(why) if Instant::now() >= deadline || is_final(&why) => return Err(why),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// Whether an object is refused for what is in it: no webhook that is not served yet answers so.
fn is_final(why: &Error) -> bool {
    let Error::Api { source, .. } = why else { return false };
    matches!(&**source, kube::Error::Api(status) if matches!(status.code, 400 | 422))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::STORIES;

    #[test]
    fn spiderpool_comes_with_a_coordinator_and_stories_with_what_they_take_for_granted() {
        assert_eq!(objects(&Shape::default(), "").unwrap(), Vec::<Value>::new());
        for story in STORIES {
            let shape = (story.shape)();
            let kinds: Vec<String> = objects(&shape, story.given)
                .unwrap()
                .iter()
                .map(|object| object["kind"].as_str().unwrap_or_default().to_owned())
                .collect();
            assert_eq!(kinds.contains(&"SpiderCoordinator".to_owned()), shape.spiderpool, "{}", story.name);
            assert!(shape.spiderpool || kinds.is_empty(), "{}", story.name);
        }
    }
}
