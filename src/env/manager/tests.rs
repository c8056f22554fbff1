//! What the manager refuses, and what it gives.

use super::super::config::Definition;
use super::super::config::Transport;
use super::super::provider::{Snapshot, UrlProvider};
use super::*;

struct Fixed {
    ids: &'static [&'static str],
    default: Option<&'static str>,
    include_local: bool,
}

impl EnvironmentProvider for Fixed {
    fn snapshot(&self) -> Result<Snapshot, EnvironmentError> {
        let provide = |id: &&str| Provided {
            environment: environment(id),
            origin: Origin::Variable("X"),
            address: "elsewhere".into(),
        };
        Ok(Snapshot {
            environments: self.ids.iter().map(provide).collect(),
            default: match self.default {
                Some(id) => DefaultSelection::Id(id.into()),
                None => DefaultSelection::Disabled,
            },
            include_local: self.include_local,
        })
    }
}

fn environment(id: &str) -> Arc<Environment> {
    Arc::new(Environment::new(Definition {
        id: id.to_owned(),
        transport: Transport::Unix {
            path: "/nowhere".into(),
            bearer_token_env: None,
        },
        connect_timeout: Definition::DEFAULT_TIMEOUT,
        initialize_timeout: Definition::DEFAULT_TIMEOUT,
        origin: Origin::Variable("X"),
    }))
}

fn manager(provider: &dyn EnvironmentProvider) -> Result<EnvironmentManager, String> {
    EnvironmentManager::from_provider(provider, Some(environment(LOCAL)))
        .map_err(|error| error.to_string())
}

fn refusal(provider: &dyn EnvironmentProvider) -> String {
    match manager(provider) {
        Ok(manager) => panic!("accepted {:?}", manager.ids().collect::<Vec<_>>()),
        Err(error) => error,
    }
}

#[test]
fn what_a_provider_says_is_checked() {
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
        let provider = Fixed {
            ids,
            default,
            include_local: false,
        };
        assert_eq!(
            refusal(&provider),
            format!("exec-server protocol error: {words}")
        );
    }
}

#[test]
fn this_machine_must_be_given_where_it_is_included() {
    let provider = Fixed {
        ids: &[],
        default: None,
        include_local: true,
    };
    let error = EnvironmentManager::from_provider(&provider, None).err();
    assert_eq!(
        error.expect("there is no local environment").to_string(),
        "exec-server protocol error: local environment requires configured runtime paths"
    );
    assert!(manager(&provider).is_ok());
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
        let provider = Fixed {
            ids,
            default,
            include_local,
        };
        let manager = manager(&provider).expect("valid");
        assert_eq!(manager.default_environment_ids(), expected);
        assert_eq!(manager.default_environment_id(), default);
    }
}

#[test]
fn an_environment_is_the_same_each_time() {
    let provider = Fixed {
        ids: &["a"],
        default: Some("a"),
        include_local: true,
    };
    let manager = manager(&provider).expect("valid");
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
    let provider = Fixed {
        ids: &["dev", "ci"],
        default: None,
        include_local: true,
    };
    let manager = manager(&provider).expect("valid");
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
        let manager = manager(&UrlProvider::new(value)).expect("valid");
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
