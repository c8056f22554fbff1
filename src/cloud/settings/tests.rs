use super::*;

fn executor_flags() -> Settings {
    Settings {
        remote: Some("https://plane.example/".into()),
        executor_id: Some(" X ".into()),
        name: Some("nm".into()),
        ..Settings::default()
    }
}

fn environment_flags() -> Settings {
    Settings {
        remote: Some("http://127.0.0.1:5".into()),
        environment_id: Some("env".into()),
        ..Settings::default()
    }
}

fn env(name: &str) -> Option<OsString> {
    match name {
        REMOTE_BEARER | API_KEY => Some(" key ".into()),
        _ => None,
    }
}

fn form(settings: &Settings) -> Result<Form, String> {
    let plan = settings.plan(env).map_err(|error| error.to_string())?;
    Ok(plan.form)
}

#[test]
fn each_form_follows_from_its_flags() {
    assert_eq!(
        form(&executor_flags()),
        Ok(Form::Executor {
            base: "https://plane.example".into(),
            id: "X".into(),
            name: "nm".into(),
        })
    );
    let (base, id) = ("http://127.0.0.1:5".to_owned(), "env".to_owned());
    let mut flags = environment_flags();
    assert_eq!(
        form(&flags),
        Ok(Form::Relay {
            base: base.clone(),
            id: id.clone(),
        })
    );
    flags.transport = Some(Transport::Direct);
    assert_eq!(form(&flags), Ok(Form::Direct { base, id }));
}

#[test]
fn what_is_missing_or_unfit_is_named_in_the_reference_s_words() {
    let with = |change: fn(&mut Settings), mut flags: Settings| {
        change(&mut flags);
        flags
    };
    for (flags, text) in [
        (
            with(|it| it.executor_id = Some(" ".into()), executor_flags()),
            "executor registry configuration error: executor id is required for remote exec-server registration",
        ),
        (
            with(|it| it.remote = Some(" / ".into()), executor_flags()),
            "executor registry configuration error: executor registry base URL is required",
        ),
        (
            with(
                |it| it.executor_id = Some("a b/../c?x".into()),
                executor_flags(),
            ),
            "executor registry configuration error: --executor-id must be 1 to 256 letters, digits, '-' or '_'",
        ),
        (
            with(
                |it| it.remote = Some("http://plane.example".into()),
                executor_flags(),
            ),
            "executor registry configuration error: executor registry base URL must begin with https://, or http:// for this machine itself",
        ),
        (
            Settings {
                cloud: true,
                ..Settings::default()
            },
            "cloud environment configuration error: cloud environments base URL is required",
        ),
    ] {
        let error = form(&flags).unwrap_err();
        assert!(error.starts_with(text), "{error}");
    }
}

#[test]
fn variables_of_the_reference_turn_things_on() {
    let with = |name: &'static str, value: &'static str| {
        let look_up = move |asked: &str| match asked == name {
            true => Some(value.into()),
            false => env(asked),
        };
        let plan = environment_flags().plan(look_up);
        plan.map(|plan| plan.exits_on_stdin_close)
            .map_err(|error| error.to_string())
    };
    let refused = with(ENABLE_NOISE, "1").unwrap_err();
    assert_eq!(
        refused,
        format!("environment registry configuration error: {NO_NOISE}")
    );
    for (value, is_on) in [("true", true), ("1", true), ("0", false), ("false", false)] {
        assert_eq!(with(EXIT_ON_STDIN_CLOSE, value), Ok(is_on), "{value}");
    }
    assert_eq!(with(ENABLE_NOISE, "0"), Ok(false));
}

#[test]
fn the_executor_s_token_comes_from_its_variable() {
    for (value, fault) in [(None, "is not set"), (Some(" "), "is empty")] {
        let env = |name: &str| value.filter(|_| name == REMOTE_BEARER).map(OsString::from);
        let Err(error) = executor_flags().plan(env) else {
            panic!("taken");
        };
        assert_eq!(
            error.to_string(),
            format!(
                "executor registry authentication error: executor registry bearer token environment variable `{REMOTE_BEARER}` {fault}"
            )
        );
    }
}

#[test]
fn flags_that_mean_nothing_alone_are_conflicts() {
    let none = Settings::default;
    for (flags, text) in [
        (
            Settings {
                cloud: true,
                ..executor_flags()
            },
            "the argument '--cloud' cannot be used with '--remote <URL>'",
        ),
        (
            Settings {
                remote: None,
                ..executor_flags()
            },
            "'--executor-id <ID>' goes with '--remote <URL>'",
        ),
        (
            Settings {
                remote: None,
                ..environment_flags()
            },
            "'--environment-id <ID>' goes with '--remote <URL>'",
        ),
        (
            Settings {
                executor_id: None,
                ..executor_flags()
            },
            "'--remote <URL>' goes with '--executor-id <ID>' or '--environment-id <ID>'",
        ),
        (
            Settings {
                environment_id: Some("e".into()),
                ..executor_flags()
            },
            "the argument '--executor-id <ID>' cannot be used with '--environment-id <ID>'",
        ),
        (
            Settings {
                cloud_name: Some("n".into()),
                ..none()
            },
            "'--cloud-name <NAME>' goes with '--cloud'",
        ),
        (
            Settings {
                account_token_on_stdin: true,
                ..executor_flags()
            },
            "'--chatgpt-token-stdin' goes with '--environment-id <ID>'",
        ),
        (
            Settings {
                account_token_on_stdin: true,
                bearer_on_stdin: true,
                ..environment_flags()
            },
            "the argument '--chatgpt-token-stdin' cannot be used with '--registration-bearer-stdin'",
        ),
        (
            Settings {
                account_id: Some("a".into()),
                ..environment_flags()
            },
            "'--chatgpt-account-id <ID>' goes with '--chatgpt-token-stdin'",
        ),
        (
            Settings {
                exit_on_stdin_close: true,
                ..none()
            },
            "'--exit-on-stdin-close' goes with '--remote <URL>' or '--cloud'",
        ),
    ] {
        assert_eq!(flags.conflict().as_deref(), Some(text));
    }
    for good in [none(), executor_flags(), environment_flags()] {
        assert_eq!(good.conflict(), None);
    }
}

#[test]
fn a_token_on_standard_input_is_one_line() {
    assert_eq!(first_line(&b" tok \r\nrest"[..]).as_deref(), Some("tok"));
    let longest = format!("{}\n", "x".repeat(MAX_BEARER));
    assert!(first_line(longest.as_bytes()).is_some());
    let too_long = format!("{}\n", "x".repeat(MAX_BEARER + 1));
    for bad in ["", "tok", "\n", "a\x01b\n", &too_long] {
        assert_eq!(first_line(bad.as_bytes()), None);
    }
}
