//! What `kubectl get` prints: the columns of the guides, filled in by the API server.

use serde_json::{Value, json};

use crate::gc::{attached, record};
use crate::support::{Cluster, POOLS, in_namespace, pool};

/// The columns that are shown without `-o wide`, and the cells of the only row.
async fn table(cluster: &Cluster, path: &str) -> (Vec<String>, Vec<Value>) {
    let request = http::Request::get(path).header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io");
    let table: Value = cluster.client.request(request.body(Vec::new()).unwrap()).await.unwrap();
    assert_eq!((&table["kind"], table["rows"].as_array().unwrap().len()), (&json!("Table"), 1), "{table}");
    let columns = table["columnDefinitions"].as_array().unwrap();
    let is_shown = |column: &&Value| column["priority"].as_i64().unwrap_or(0) == 0;
    let names = columns.iter().filter(is_shown).map(|column| column["name"].as_str().unwrap().to_uppercase());
    let cells = table["rows"][0]["cells"].as_array().unwrap().iter().zip(columns);
    (names.collect(), cells.filter(|(_, column)| is_shown(column)).map(|(cell, _)| cell.clone()).collect())
}

#[tokio::test]
async fn endpoints_and_pools_are_listed_as_the_guides_show_them() {
    let cluster = Cluster::start().await;
    let spec =
        json!({"ipVersion": 4, "subnet": "10.0.0.0/24", "ips": ["10.0.0.1-10.0.0.99"], "default": true});
    cluster.create(POOLS, &pool("p", spec)).await;
    let uid = attached(&cluster, "web", "10.0.0.1", None).await;
    record(&cluster, &[("10.0.0.1", "web", &uid)]).await;
    let (columns, row) = table(&cluster, &in_namespace("spiderendpoints", "default")).await;
    assert_eq!(columns.join(" "), "NAME INTERFACE IPV4POOL IPV4 IPV6POOL IPV6 NODE");
    let none = Value::Null;
    assert_eq!(json!(row), json!(["web", "eth0", "p", "10.0.0.1/24", none, none, "n1"]));
    let (columns, row) = table(&cluster, POOLS).await;
    assert_eq!(columns.join(" "), "NAME VERSION SUBNET ALLOCATED-IP-COUNT TOTAL-IP-COUNT DEFAULT");
    // Nobody has counted the addresses here: that is the controller's.
    assert_eq!(json!(row), json!(["p", "4", "10.0.0.0/24", 1, none, true]));
}

polynic_control_plane::on_a_real_server!(endpoints_and_pools_are_listed_as_the_guides_show_them,);
