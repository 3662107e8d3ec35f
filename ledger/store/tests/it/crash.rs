//! A server that is killed at any moment.

use crate::child::{Acknowledged, Server, check_has};
use crate::support::Place;

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill_at_any_moment() {
    const ROUNDS: u128 = 20;
    let place = Place::sqlite();
    let mut acknowledged: Vec<Acknowledged> = Vec::new();
    for round in 0..ROUNDS {
        let before = acknowledged.len();
        let mut server = Server::start(place.folder(), &[], true);
        server.say(&format!("flood {}", (round + 1) << 64));
        // In the first rounds the kill meets the opening; later ones come somewhere
        // between the steps of a commit, after any number of them.
        let random = getrandom::u32().unwrap();
        let n_awaited = if round < 3 { 0 } else { random % 400 };
        for _ in 0..n_awaited {
            acknowledged.extend(Acknowledged::parse(&server.answer().unwrap()));
        }
        let rest = server.kill();
        acknowledged.extend(rest.iter().filter_map(|answer| Acknowledged::parse(answer)));
        assert!(acknowledged.len() - before >= n_awaited as usize);
        check_has(place.folder(), &acknowledged).await;
    }
    assert!(acknowledged.len() > 100, "too little was written to mean anything");
}
