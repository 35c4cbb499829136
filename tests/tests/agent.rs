//! snf-agent on a node: what the hooks say is kept, what is left of TAPs that are gone is taken away, what drifted is put
//! right, and the story is told.

mod agent {
    mod drift;
    mod story;
    mod sweep;

    const BRIDGED_INSTANCE: &str = "bridged.example.org";
    const ROUTED_INSTANCE: &str = "routed.example.org";
}
