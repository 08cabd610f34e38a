//! Breadth first through all states. Each is kept whole, so that none is taken for another.

use super::state::State;
use super::world::World;

#[derive(Debug)]
pub(super) struct Explored {
    pub(super) states: usize,
    pub(super) transitions: u64,
    /// What went wrong first, with the way there.
    pub(super) wrong: Option<String>,
}

/// Explores everything that `world` can become; stops at the first violation.
pub(super) fn explore(mut world: World) -> Explored {
    let mut seen = Seen::new();
    let mut parents: Vec<u32> = vec![0];
    let mut transitions = 0;
    seen.add(world.initial());
    let mut at = 0;
    while at < seen.states.len() && world.wrong.is_none() {
        let state = seen.states[at];
        world.rescue(&state);
        world.steps(&state);
        transitions += world.next.len() as u64;
        let next = std::mem::take(&mut world.next);
        for state in &next {
            if seen.add(*state) {
                parents.push(u32::try_from(at).expect("it fits"));
            }
        }
        world.next = next;
        world.next.clear();
        at += 1;
    }
    let wrong = world.wrong.take().map(|message| {
        let mut way = vec![at - 1];
        while way[way.len() - 1] > 0 {
            way.push(parents[way[way.len() - 1]] as usize);
        }
        let way: Vec<_> = way.iter().rev().map(|at| world.tell(&seen.states[*at])).collect();
        format!("{message}, after\n{}", way.join("\n"))
    });
    Explored { states: seen.states.len(), transitions, wrong }
}

/// States in the order in which they were found, with an index by hash.
pub(super) struct Seen {
    pub(super) states: Vec<State>,
    /// The position of a state, and one more; 0 is free.
    index: Vec<u32>,
}

impl Seen {
    pub(super) fn new() -> Self {
        Self { states: Vec::new(), index: vec![0; 1 << 12] }
    }

    /// Says whether it is new.
    pub(super) fn add(&mut self, state: State) -> bool {
        if self.states.len() * 2 >= self.index.len() {
            self.index = vec![0; self.index.len() * 4];
            for (at, state) in (1_u32..).zip(&self.states) {
                let mut place = self.place(state);
                while self.index[place] > 0 {
                    place = (place + 1) & (self.index.len() - 1);
                }
                self.index[place] = at;
            }
        }
        let mut place = self.place(&state);
        while self.index[place] > 0 {
            if self.states[self.index[place] as usize - 1] == state {
                return false;
            }
            place = (place + 1) & (self.index.len() - 1);
        }
        self.states.push(state);
        self.index[place] = u32::try_from(self.states.len()).expect("it fits");
        true
    }

    fn place(&self, state: &State) -> usize {
        usize::try_from(state.hash() & (self.index.len() as u64 - 1)).expect("it fits")
    }
}
