//! Words that were likely meant.

use strsim::{damerau_levenshtein, jaro_winkler};

/// Names that are offered.
const NAMES_MAX: usize = 3;
/// Names that begin alike, as those of a fleet do, are all alike; these are
/// about as close as one slip of the finger makes two short words.
const LIKENESS_MIN: f64 = 0.8;

/// Returns the names closest to a word, the closest first, and none that is far.
pub(crate) fn closest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let small = word.to_lowercase();
    // A third of the letters, and at least one, may be wrong.
    let most = (word.chars().count() / 3).max(1);
    let mut close: Vec<(usize, f64, &str)> = names
        .into_iter()
        .filter(|name| *name != word)
        .filter_map(|name| {
            let other = name.to_lowercase();
            let steps = damerau_levenshtein(&small, &other);
            let likeness = jaro_winkler(&small, &other);
            let part = small.len() > 2 && other.contains(&small);
            let slip = steps == 1 && small.len() > 2;
            let alike = slip || (steps <= most && likeness >= LIKENESS_MIN);
            (alike || part).then_some((steps, likeness, name))
        })
        .collect();
    close.sort_by(|a, b| a.0.cmp(&b.0).then(b.1.total_cmp(&a.1)).then(a.2.cmp(b.2)));
    close.into_iter().map(|(_, _, name)| name).take(NAMES_MAX).collect()
}

/// Returns the names as a question, if there are any.
pub(crate) fn question(names: &[&str]) -> Option<String> {
    let (last, others) = names.split_last()?;
    Some(match others {
        [] => format!("did you mean {last}?"),
        _ => format!("did you mean {} or {last}?", others.join(", ")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_finds_what_was_meant_and_nothing_that_is_far() {
        let fleet = ["web-1", "web-2", "web-10", "db", "mail", "database-primary", "build-arm"];
        for (word, expected) in [
            ("web1", "web-1"),
            ("wbe-1", "web-1"),
            ("web-3", "web-1 web-2"),
            ("WEB-2", "web-2 web-1"),
            ("web", "web-1 web-2 web-10"),
            ("mial", "mail"),
            ("bd", ""),
            ("bdd", ""),
            ("d", "db"),
            ("dbb", "db"),
            ("database-primray", "database-primary"),
            ("primary", "database-primary"),
            ("biuld-arm", "build-arm"),
            ("frontend", ""),
            ("", ""),
        ] {
            assert_eq!(closest(word, fleet).join(" "), expected, "{word:?}");
        }
        assert_eq!(closest("web-1", ["web-1"]), Vec::<&str>::new(), "itself is no suggestion");
    }

    #[test]
    fn names_are_asked_as_a_person_would() {
        assert_eq!(question(&[]), None);
        assert_eq!(question(&["a"]).as_deref(), Some("did you mean a?"));
        assert_eq!(question(&["a", "b", "c"]).as_deref(), Some("did you mean a, b or c?"));
    }
}
