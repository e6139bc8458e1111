// A schema with a bit of everything, and a checker of its own for it.
export const PERSON = {
  type: 'object',
  properties: {
    name: { type: 'string', minLength: 1, maxLength: 20 },
    age: { type: 'integer', minimum: 0, maximum: 130 },
    tags: { type: 'array', items: { enum: ['a', 'b', 'c'] }, maxItems: 3 },
    home: { $ref: '#/$defs/place' },
    note: { anyOf: [{ type: 'null' }, { type: 'boolean' }] },
  },
  required: ['name', 'age', 'tags', 'home', 'note'],
  additionalProperties: false,
  $defs: { place: { type: 'object', properties: { zip: { type: 'string', pattern: '^[0-9]{5}$' } }, required: ['zip'], additionalProperties: false } },
};

/** What is wrong with a value by PERSON. */
export function checkSchema(value) {
  const keys = (object) => Object.keys(object ?? {}).sort().join();
  const rules = {
    keys: keys(value) === 'age,home,name,note,tags',
    name: typeof value?.name === 'string' && [...value.name].length >= 1 && [...value.name].length <= 20,
    age: Number.isInteger(value?.age) && value.age >= 0 && value.age <= 130,
    tags: Array.isArray(value?.tags) && value.tags.length <= 3 && value.tags.every((tag) => ['a', 'b', 'c'].includes(tag)),
    home: keys(value?.home) === 'zip' && /^[0-9]{5}$/.test(value.home.zip),
    note: value?.note === null || typeof value?.note === 'boolean',
  };
  return Object.keys(rules).filter((rule) => !rules[rule]);
}
