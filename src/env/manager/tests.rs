//! What the manager refuses, and what it gives.

use super::super::config::Definition;
use super::super::config::Transport;
use super::super::config::home::of_url;
use super::*;

fn fixed(ids: &[&str], default: Option<&str>, include_local: bool) -> Config {
    Config {
        environments: ids.iter().map(|id| definition(id)).collect(),
        default: match default {
            Some(id) => DefaultSelection::Id(id.into()),
            None => DefaultSelection::Disabled,
        },
        include_local,
        sources: Sources::default(),
    }
}

fn definition(id: &str) -> Definition {
    Definition {
        id: id.to_owned(),
        transport: Transport::Unix {
            path: "/nowhere".into(),
            token: None,
            allows_local_users: false,
        },
        connect_timeout: Definition::DEFAULT_TIMEOUT,
        initialize_timeout: Definition::DEFAULT_TIMEOUT,
        origin: Origin::Variable("X"),
    }
}

fn manager(config: Config) -> Result<EnvironmentManager, String> {
    let local = Arc::new(Environment::new(definition(LOCAL)));
    EnvironmentManager::new(config, Some(local)).map_err(|error| error.to_string())
}

fn refusal(config: Config) -> String {
    match manager(config) {
        Ok(manager) => panic!("accepted {:?}", manager.ids().collect::<Vec<_>>()),
        Err(error) => error,
    }
}

#[test]
fn what_is_configured_is_checked() {
    for (ids, default, words) in [
        (&[""][..], None, "environment id cannot be empty"),
        (
            &["a", "local"],
            None,
            "environment id `local` is reserved for EnvironmentManager",
        ),
        (&["a", "b", "a"], None, "environment id `a` is duplicated"),
        (
            &["a"],
            Some("b"),
            "default environment `b` is not configured",
        ),
        (
            &["a"],
            Some("local"),
            "default environment `local` is not configured",
        ),
    ] {
        let config = fixed(ids, default, false);
        assert_eq!(
            refusal(config),
            format!("exec-server protocol error: {words}")
        );
    }
}

#[test]
fn this_machine_must_be_given_where_it_is_included() {
    let config = fixed(&[], None, true);
    let error = EnvironmentManager::new(config.clone(), None).err();
    assert_eq!(
        error.expect("there is no local environment").to_string(),
        "exec-server protocol error: local environment requires configured runtime paths"
    );
    assert!(manager(config).is_ok());
}

#[test]
fn the_default_comes_first_and_the_others_in_their_order() {
    let ids = &["z", "m", "a"];
    for (default, include_local, expected) in [
        (Some("m"), true, &["m", "local", "z", "a"][..]),
        (Some("local"), true, &["local", "z", "m", "a"]),
        (Some("a"), false, &["a", "z", "m"]),
        (None, true, &[]),
    ] {
        let config = fixed(ids, default, include_local);
        let manager = manager(config).expect("valid");
        assert_eq!(manager.default_environment_ids(), expected);
        assert_eq!(manager.default_environment_id(), default);
    }
}

#[test]
fn an_environment_is_the_same_each_time() {
    let config = fixed(&["a"], Some("a"), true);
    let manager = manager(config).expect("valid");
    let first = manager.get("a").expect("a");
    for again in [
        manager.get("a").expect("a"),
        manager.select(Some("a")).expect("a"),
        manager.select(None).expect("the default"),
        manager.default_environment().expect("the default"),
    ] {
        assert!(Arc::ptr_eq(&first, &again));
    }
    assert_eq!(manager.get(LOCAL).expect("local").id(), LOCAL);
}

#[test]
fn an_unknown_environment_names_those_that_there_are() {
    let config = fixed(&["dev", "ci"], None, true);
    let manager = manager(config).expect("valid");
    let unknown = |id| {
        manager
            .select(id)
            .map(|_| ())
            .expect_err("unknown")
            .to_string()
    };
    assert_eq!(
        unknown(Some("de")),
        "environment `de` is not configured; did you mean `dev`?\nconfigured are: local, dev, ci"
    );
    assert_eq!(
        unknown(Some("elsewhere")),
        "environment `elsewhere` is not configured\nconfigured are: local, dev, ci"
    );
    assert_eq!(
        unknown(None),
        "no environment is the default; name one\nconfigured are: local, dev, ci"
    );
}

#[test]
fn the_variable_follows_its_table() {
    for (value, ids, default) in [
        (None, &["local"][..], Some("local")),
        (Some(""), &["local"], Some("local")),
        (Some(" \t"), &["local"], Some("local")),
        (Some("none"), &[], None),
        (Some(" NoNe "), &[], None),
        (Some("ws://h"), &["remote"], Some("remote")),
        (Some("garbage"), &["remote"], Some("remote")),
        (Some("unix:///x"), &["remote"], Some("remote")),
    ] {
        let manager = manager(of_url(value)).expect("valid");
        assert_eq!(manager.ids().collect::<Vec<_>>(), ids, "{value:?}");
        assert_eq!(manager.default_environment_id(), default, "{value:?}");
        for each in manager.environments() {
            let is_remote = each.environment.id() == "remote";
            assert_eq!(
                each.environment.is_remote(),
                is_remote || each.origin == Origin::BuiltIn
            );
        }
    }
}
