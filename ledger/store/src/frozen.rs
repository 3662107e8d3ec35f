//! Released migrations are frozen. To change a schema, add a file and a line.

use crate::{postgres, sqlite};

/// The BLAKE3 of each migration's text, in the order of their numbers.
const SQLITE: [&str; 1] = ["ac427e89465c6521cb33e7f0929414a67b1360020e739c676572abb4e413ac46"];
const POSTGRES: [&str; 4] = [
    "800bab899873aefd942e8137f31eb047ad326daf3523fb3bae309cd8dc9a3f81",
    "6993afe91980bedacf08631d6d2977c5cb2acd2b9e64afc0f4fccab58933a0d0",
    "f2078e3e13b2e3c092ce1fbf9833d45d2801dcab320b244635f154cc088fdf8f",
    "f958bf7928239af34f3cd7ce0d7bd0c6e21c6c88c14b88372dfa17dd87620d46",
];

#[test]
fn released_migrations_do_not_change_and_have_no_gap() {
    for (migrations, frozen) in [
        (sqlite::migrations::MIGRATIONS, SQLITE.as_slice()),
        (postgres::migrations::MIGRATIONS, POSTGRES.as_slice()),
    ] {
        let numbers = migrations.iter().map(|(number, ..)| *number);
        assert!(numbers.eq(1..=u32::try_from(migrations.len()).unwrap()));
        let hash = |sql: &str| blake3::hash(sql.as_bytes()).to_hex().to_string();
        let hashes: Vec<String> = migrations.iter().map(|(.., sql)| hash(sql)).collect();
        assert_eq!(hashes, frozen);
    }
}
