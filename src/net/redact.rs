//! URLs as they may be shown: without what may be secret in them.

/// The URL without user, password, query and fragment, which may all hold secrets. Takes any
/// text, since a wrong URL is shown too.
pub fn redacted(url: &str) -> String {
    let (scheme, rest) = match url.find("://") {
        Some(at) => url.split_at(at + 3),
        None => ("", url),
    };
    let end = rest.find(['/', '\\', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let host = match authority.rsplit_once('@') {
        Some((_, host)) => host,
        // Whether that is the host depends on who reads it.
        None if path.starts_with('\\') && path.contains('@') => return format!("{scheme}..."),
        // A password with one of `/?#` in it ends the authority early.
        None if path.contains('@') && authority.contains(':') => return format!("{scheme}..."),
        None => authority,
    };
    let end = path.find(['?', '#']).unwrap_or(path.len());
    format!("{scheme}{host}{}", &path[..end])
}

/// The text with asterisks for what may be secret in URLs that stand in it, quoted or between
/// blanks; no character moves.
pub fn redacted_in_place(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, url) = rest.split_at(at + 3);
        shown.push_str(before);
        let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`');
        let (url, behind) = url.split_at(url.find(ends).unwrap_or(url.len()));
        let host = url.rfind('@').unwrap_or(0);
        let query = url[host..].find(['?', '#']).map(|at| host + at);
        for (at, c) in url.char_indices() {
            let is_secret = at < host || query.is_some_and(|query| at > query);
            shown.push(if is_secret { '*' } else { c });
        }
        rest = behind;
    }
    shown + rest
}

/// The words of a text without queries, also those of a path alone, as servers repeat them.
pub fn without_queries(text: &str) -> String {
    let words = text
        .split_whitespace()
        .map(|word| match word.split_once('?') {
            Some((before, query)) if !query.is_empty() => format!("{before}?…"),
            _ => word.to_owned(),
        });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_in_a_text_keep_their_length() {
        for (text, shown) in [
            ("none", "none"),
            ("a ws://h/x b", "a ws://h/x b"),
            (
                "'ws://u:p@h?ü' \"wss://h#t\"",
                "'ws://***@h?*' \"wss://h#*\"",
            ),
            ("ws://u:p/q@h", "ws://*****@h"),
            ("ws://h?a@b?t", "ws://***@b?*"),
            ("://", "://"),
        ] {
            assert_eq!(redacted_in_place(text), shown, "{text}");
        }
    }

    #[test]
    fn a_question_is_no_query() {
        assert_eq!(without_queries("why? GET  /x?sig=s"), "why? GET /x?…");
    }

    #[test]
    fn only_what_cannot_be_secret_is_left() {
        for (url, shown) in [
            ("ws://127.0.0.1:1", "ws://127.0.0.1:1"),
            ("wss://h/a/b", "wss://h/a/b"),
            ("ws://u:p@h:1/x?token=t#f", "ws://h:1/x"),
            ("ws://u@v:p@h/x", "ws://h/x"),
            ("ws://h?t=1", "ws://h"),
            ("ws://h#t", "ws://h"),
            ("ws://h/x?mail=a@b&t=1", "ws://h/x"),
            ("ws://u:p/q@h/x", "ws://..."),
            ("ws://u:p?q@h/x", "ws://..."),
            ("ws://u:p#q@h/x", "ws://..."),
            ("ws://127.0.0.1\\@192.0.2.2:7720", "ws://..."),
            ("ws://u\\x:p@h", "ws://..."),
            ("ws://h\\x", "ws://h\\x"),
            ("http://u:p@h", "http://h"),
            ("u:p@h?x", "h"),
            ("garbage", "garbage"),
            ("unix:///run/x", "unix:///run/x"),
            ("", ""),
        ] {
            assert_eq!(redacted(url), shown, "{url}");
        }
    }
}
