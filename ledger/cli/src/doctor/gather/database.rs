//! Looks at the database that servers share.

use super::PATIENCE;
use crate::database::DatabaseUrl;
use crate::doctor::facts::{Database, Trouble};
use crate::failure::Failure;
use ledger_store::inspect_postgres;
use tokio::time::timeout;

pub(super) async fn ask(url: Option<&DatabaseUrl>) -> Option<Database> {
    let url = url?;
    let inspected = match timeout(PATIENCE, inspect_postgres(url.reveal())).await {
        Ok(inspected) => inspected.map_err(|error| Failure::from(error).into()),
        Err(_) => Err(Trouble {
            text: format!("{url} does not answer within {} s", PATIENCE.as_secs()),
            fix: None,
            is_certificate: false,
        }),
    };
    Some(Database { url: url.to_string(), inspected })
}
