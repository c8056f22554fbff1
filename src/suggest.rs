//! What a mistyped name may have meant.

/// The candidate nearest to `typed`, if it is near enough to be meant. Small and capital letters
/// are the same.
pub fn closest<'a>(typed: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let typed = typed.to_lowercase();
    candidates
        .map(|candidate| (distance(&typed, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 5)
        .min()
        .map(|(_, candidate)| candidate)
}

/// How many characters to insert, delete or replace, or neighbours to swap, to make one of the
/// other.
fn distance(from: &str, to: &str) -> usize {
    let from: Vec<char> = from.chars().collect();
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    let mut before = row.clone();
    for line in 1..=from.len() {
        let mut next = vec![line; to.len() + 1];
        for column in 1..=to.len() {
            let is_other = from[line - 1] != to[column - 1];
            let replaced = row[column - 1] + usize::from(is_other);
            next[column] = replaced.min(row[column] + 1).min(next[column - 1] + 1);
            let is_swapped = line > 1
                && column > 1
                && from[line - 1] == to[column - 2]
                && from[line - 2] == to[column - 1];
            if is_swapped {
                next[column] = next[column].min(before[column - 2] + 1);
            }
        }
        before = std::mem::replace(&mut row, next);
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        let names = ["listen", "help", "max-processes", "max-connections"];
        for (typed, expected) in [
            ("lisen", Some("listen")),
            ("lsiten", Some("listen")),
            ("hlp", Some("help")),
            ("max-process", Some("max-processes")),
            ("max_connections", Some("max-connections")),
            ("remote", None),
            ("", None),
        ] {
            assert_eq!(closest(typed, names.into_iter()), expected, "{typed}");
        }
    }

    #[test]
    fn short_names_with_swapped_letters_and_capitals_are_found() {
        let names = ["dev", "local", "run"];
        for (typed, expected) in [
            ("dve", "dev"),
            ("DEV", "dev"),
            ("Loacl", "local"),
            ("rnu", "run"),
        ] {
            assert_eq!(closest(typed, names.into_iter()), Some(expected), "{typed}");
        }
    }

    #[test]
    fn distances() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "ab"), 2);
        assert_eq!(distance("ab", ""), 2);
        assert_eq!(distance("abcd", "badc"), 2);
        assert_eq!(distance("same", "same"), 0);
    }
}
