//! The address that serves the figures alone.

use crate::node::{Node, config, data_folder, exchange};
use std::net::SocketAddr;
use std::time::Duration;

async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
    let answer = exchange(address, &request).await;
    assert!(answer.contains("\r\nx-request-id: "), "{answer}");
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.expect("a status"), answer)
}

#[tokio::test]
async fn an_address_of_its_own_serves_figures_and_health_without_a_token_and_nothing_else() {
    let folder = data_folder();
    let mut config = config(folder.path(), Duration::from_secs(20));
    config.metrics_listen = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    let node = Node::on(folder, config).await;
    let address = node.running.metrics_address().expect("it was asked for");
    assert_ne!(address, node.running.address());
    let (status, figures) = get(address, "/metrics").await;
    assert_eq!(status, 200);
    assert!(figures.contains("\r\ncontent-type: application/openmetrics-text; version=1.0.0"));
    assert!(figures.contains("\nledger_ready 1\n") && figures.contains("# EOF"), "{figures}");
    for path in ["/healthz", "/readyz"] {
        assert_eq!(get(address, path).await.0, 200, "{path}");
    }
    for path in ["/v1/agents", "/v1/log", "/v1/agent/socket", "/"] {
        let (status, answer) = get(address, path).await;
        assert_eq!(status, 404, "{path}: {answer}");
    }
    let (status, answer) = get(node.running.address(), "/metrics").await;
    assert_eq!(status, 401, "the other address asks for a token: {answer}");
    // What was asked here is counted, too.
    assert!(get(address, "/metrics").await.1.contains("{route=\"/readyz\",status=\"200\"} 1"));
    node.stop().await;
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "it stops with the server");
}

#[tokio::test]
async fn without_being_asked_for_no_other_address_is_open() {
    let node = Node::new().await;
    assert_eq!(node.running.metrics_address(), None);
    node.stop().await;
}
