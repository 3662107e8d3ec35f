//! Asks binary caches: whether they answer, and with which keys they sign.

use super::PATIENCE;
use crate::connection::USER_AGENT;
use crate::doctor::caches::name_of;
use crate::doctor::facts::{Cache, CacheAnswer};
use crate::failure::Failure;
use api_client::http::text_at;
use std::fs;
use std::path::{Path, PathBuf};

/// What describes a cache.
const INFO: &str = "nix-cache-info";
/// Paths of a cache in a folder that are looked at for signatures.
const PATHS_MAX: usize = 5;

/// Asks all of them at once. `hashes` are those of store paths that may be there.
pub(super) async fn ask_all(urls: &[String], hashes: &[String]) -> Vec<Cache> {
    let asked: Vec<_> = urls
        .iter()
        .map(|url| {
            let (url, hashes) = (url.clone(), hashes.to_vec());
            tokio::spawn(async move { ask(&url, &hashes).await })
        })
        .collect();
    let mut caches = Vec::new();
    for cache in asked {
        // One that panics is ours to mend, and hides none of the others.
        caches.extend(cache.await.ok());
    }
    caches
}

async fn ask(url: &str, hashes: &[String]) -> Cache {
    let (address, options) = url.split_once('?').unwrap_or((url, ""));
    let address = address.trim_end_matches('/');
    let (answer, signed_by) = if let Some(folder) = folder(address) {
        in_folder(&folder)
    } else if address.starts_with("http://") || address.starts_with("https://") {
        over_http(address, hashes).await
    } else {
        (CacheAnswer::NotAsked, None)
    };
    let is_trusted =
        options.split('&').any(|option| matches!(option, "trusted=1" | "trusted=true"));
    Cache { url: without_password(address), answer, signed_by, is_trusted }
}

fn folder(address: &str) -> Option<PathBuf> {
    address.strip_prefix("file://").map(PathBuf::from)
}

/// An address as it may be shown: `https://USER:PASSWORD@HOST` has a secret.
fn without_password(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else { return address.to_owned() };
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

fn in_folder(folder: &Path) -> (CacheAnswer, Option<Vec<String>>) {
    if let Err(error) = fs::metadata(folder.join(INFO)) {
        return (CacheAnswer::No(format!("{}: {error}", folder.join(INFO).display())), None);
    }
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let infos = entries.map(|entry| entry.path());
    let infos = infos.filter(|path| path.extension().is_some_and(|end| end == "narinfo"));
    let texts = infos.take(PATHS_MAX).filter_map(|path| fs::read_to_string(path).ok());
    let mut signed: Option<Vec<String>> = None;
    for text in texts {
        signed.get_or_insert_default().extend(signers(&text));
    }
    (CacheAnswer::Cache, signed.map(sorted))
}

async fn over_http(address: &str, hashes: &[String]) -> (CacheAnswer, Option<Vec<String>>) {
    let get = |name: String| {
        let url = format!("{address}/{name}");
        async move { text_at(&url, USER_AGENT, PATIENCE).await }
    };
    let infos: Vec<_> =
        hashes.iter().map(|hash| tokio::spawn(get(format!("{hash}.narinfo")))).collect();
    let answer = match get(INFO.to_owned()).await {
        Ok((200, text)) if text.contains("StoreDir:") => CacheAnswer::Cache,
        Ok((401 | 403, _)) => CacheAnswer::WantsPassword,
        Ok((status, _)) => CacheAnswer::No(format!(
            "it answers with HTTP status {status}, and not as a binary cache"
        )),
        Err(error) => CacheAnswer::No(Failure::from(error).sentence()),
    };
    let mut signed: Option<Vec<String>> = None;
    for info in infos {
        if let Ok(Ok((200, text))) = info.await
            && text.contains("StorePath:")
        {
            signed.get_or_insert_default().extend(signers(&text));
        }
    }
    (answer, signed.map(sorted))
}

/// Returns the names of the keys that signed a path.
fn signers(narinfo: &str) -> Vec<String> {
    let signatures = narinfo.lines().filter_map(|line| line.strip_prefix("Sig:"));
    signatures.map(|signature| name_of(signature.trim()).to_owned()).collect()
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_password() {
        for (address, shown) in [
            ("https://u:secret@a.example/x", "https://a.example/x"),
            ("https://a.example", "https://a.example"),
            ("https://a.example/@b", "https://a.example/@b"),
            ("daemon", "daemon"),
        ] {
            assert_eq!(without_password(address), shown);
        }
    }

    #[tokio::test]
    async fn a_cache_in_a_folder_tells_who_signs() {
        let folder = tempfile::tempdir().expect("a folder");
        let url = format!("file://{}?priority=10", folder.path().display());
        let missing = ask(&url, &[]).await;
        assert!(
            matches!(&missing.answer, CacheAnswer::No(why) if why.contains(INFO)),
            "{missing:?}"
        );
        fs::write(folder.path().join(INFO), "StoreDir: /nix/store\n").expect("written");
        assert_eq!(ask(&url, &[]).await.signed_by, None);
        let info = |name: &str, sig: &str| {
            let text = format!("StorePath: /nix/store/{name}\n{sig}");
            fs::write(folder.path().join(format!("{name}.narinfo")), text).expect("written");
        };
        info("a", "");
        let unsigned = ask(&url, &[]).await;
        assert_eq!((unsigned.answer, unsigned.signed_by), (CacheAnswer::Cache, Some(vec![])));
        info("b", "Sig: b-1:AAAA==\nSig: a-1:BBBB==\n");
        let signed = ask(&format!("{url}&trusted=1"), &[]).await;
        assert_eq!(signed.signed_by, Some(vec!["a-1".to_owned(), "b-1".to_owned()]));
        assert!(signed.is_trusted && !signed.url.contains('?'));
    }
}
