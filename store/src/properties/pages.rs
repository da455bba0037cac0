//! Pages, one after the other, are the whole list.

use super::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pages_together_are_the_whole(
        keys in btree_set(text(KEYS), 0..8),
        prefix in text(PREFIXES),
        separator in text(&["", "/", "é"]),
        limit in 1..4u32,
    ) {
        let mut store = begin();
        for key in keys {
            let pair = Pair { key, ..Pair::default() };
            store.apply(store.applied_index().next(), &Write::Kv(KvWrite::Put { pair, cas: None }));
        }
        let view = store.view();
        let shown = |page: Page| {
            let (prefix, separator) = (prefix.clone(), separator.clone());
            let list = KvRead::List { prefix: prefix.clone(), page: page.clone() };
            let keys = KvRead::Keys { prefix, separator, page };
            match (view.read(&Read::Kv(list)).0, view.read(&Read::Kv(keys)).0) {
                (Answer::Entries(rows), Answer::Keys(keys)) => {
                    (rows.iter().map(|row| row.key.clone()).collect::<Vec<_>>(), keys)
                }
                other => panic!("{other:?}"),
            }
        };
        let (rows, keys) = shown(Page::default());
        let cut: BTreeSet<&str> = rows.iter().map(|key| match key[prefix.len()..].find(&separator) {
            Some(at) if !separator.is_empty() => &key[..prefix.len() + at + separator.len()],
            _ => key,
        }).collect();
        prop_assert!(keys.iter().eq(cut), "{keys:?}");
        let (mut all_rows, mut all_keys) = (Vec::new(), Vec::new());
        for _ in 0..KEYS.len() {
            let page = |last: Option<&String>| Page { after: last.cloned(), limit: Some(limit) };
            let (more_rows, _) = shown(page(all_rows.last()));
            let (_, more_keys) = shown(page(all_keys.last()));
            prop_assert!(more_rows.len() <= limit as usize && more_keys.len() <= limit as usize);
            all_rows.extend(more_rows);
            all_keys.extend(more_keys);
        }
        prop_assert_eq!((all_rows, all_keys), (rows, keys));
    }
}
