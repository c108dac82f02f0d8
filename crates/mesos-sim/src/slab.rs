//! Numbered places that are used again.

#[derive(Debug)]
pub struct Slab<T> {
    places: Vec<Option<T>>,
    free: Vec<usize>,
}

impl<T> Default for Slab<T> {
    fn default() -> Slab<T> {
        Slab { places: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    pub fn insert(&mut self, it: T) -> usize {
        match self.free.pop() {
            Some(at) => {
                self.places[at] = Some(it);
                at
            }
            None => {
                self.places.push(Some(it));
                self.places.len() - 1
            }
        }
    }

    pub fn remove(&mut self, at: usize) -> Option<T> {
        let it = self.places.get_mut(at)?.take()?;
        self.free.push(at);
        Some(it)
    }

    pub fn get(&self, at: usize) -> Option<&T> {
        self.places.get(at)?.as_ref()
    }

    pub fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        self.places.get_mut(at)?.as_mut()
    }

    pub fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn iter(&self) -> impl Iterator<Item = (usize, &T)> {
        self.places.iter().enumerate().filter_map(|(at, it)| Some((at, it.as_ref()?)))
    }
}
