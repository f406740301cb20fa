/**
 * The page as a value: views describe with `h` what there shall be, `render` makes the document agree.
 *
 * Elements that stay are changed in place, so that focus, scrolling, selections and what was typed survive
 * each update. Text only ever becomes text nodes and attribute values: no string is parsed as markup.
 */

const SVG = "http://www.w3.org/2000/svg";

/**
 * Describe an element. `key` tells siblings apart that may come, go and move; `on...` are event handlers;
 * `style` is an object of CSS properties. Children that are null, undefined, false or "" are left out.
 */
export function h(tag, attributes, ...children) {
  return { tag, attributes: attributes ?? {}, children: children.flat(Infinity).filter(isSomething) };
}

const isSomething = (child) => child !== null && child !== undefined && child !== false && child !== "";

/** What `render` put into a container: instances of {description, node, children}. */
const rendered = new WeakMap();

/** Let `container` hold exactly what the descriptions say. */
export function render(container, ...descriptions) {
  const focused = document.activeElement;
  const wanted = descriptions.flat(Infinity).filter(isSomething);
  rendered.set(container, reconcile(container, rendered.get(container) ?? [], wanted));
  if (focused === document.activeElement) return;
  // One that is gone may have a successor: the heading of a view that was empty while its data was asked for.
  const successor = focused?.isConnected ? focused : focused?.id && document.getElementById(focused.id);
  if (successor) successor.focus({ preventScroll: true });
}

function reconcile(parent, instances, descriptions) {
  const kept = match(instances, descriptions);
  const staying = new Set(kept);
  for (const instance of instances) if (!staying.has(instance)) instance.node.remove();
  let next = parent.firstChild;
  return descriptions.map((description, index) => {
    const instance = kept[index] ? update(kept[index], description) : create(parent, description);
    if (instance.node === next) next = next.nextSibling;
    else parent.insertBefore(instance.node, next);
    return instance;
  });
}

/** For each description the instance that can become it: of the same key, or the next one of its kind. */
function match(instances, descriptions) {
  const keyed = new Map();
  const others = [];
  for (const instance of instances) {
    const key = keyOf(instance.description);
    if (key === undefined) others.push(instance);
    else keyed.set(key, instance);
  }
  return descriptions.map((description) => {
    const key = keyOf(description);
    if (key !== undefined) {
      const found = keyed.get(key);
      keyed.delete(key);
      return found?.description.tag === description.tag ? found : undefined;
    }
    const index = others.findIndex((instance) => instance.description.tag === description.tag);
    return index < 0 ? undefined : others.splice(0, index + 1)[index];
  });
}

const keyOf = (description) => description.attributes?.key;

function create(parent, description) {
  if (description.tag === undefined) {
    return { description, node: document.createTextNode(String(description)), children: [] };
  }
  const svg = description.tag === "svg" || parent.namespaceURI === SVG;
  const node = svg ? document.createElementNS(SVG, description.tag) : document.createElement(description.tag);
  const children = reconcile(node, [], description.children);
  for (const [name, value] of Object.entries(description.attributes)) set(node, name, value);
  return { description, node, children };
}

function update(instance, description) {
  const { node } = instance;
  if (description.tag === undefined) {
    const text = String(description);
    if (node.data !== text) node.data = text;
    return { description, node, children: [] };
  }
  const children = reconcile(node, instance.children, description.children);
  const before = instance.description.attributes;
  const after = description.attributes;
  for (const name of Object.keys(before)) if (!(name in after)) set(node, name, undefined, before[name]);
  for (const [name, value] of Object.entries(after)) {
    if (value !== before[name]) set(node, name, value, before[name]);
  }
  return { description, node, children };
}

function set(node, name, value, before) {
  if (name === "key") return;
  if (name.startsWith("on")) {
    node[name] = value ?? null;
  } else if (name === "style") {
    for (const property of Object.keys(before ?? {})) node.style.removeProperty(property);
    for (const [property, setting] of Object.entries(value ?? {})) node.style.setProperty(property, setting);
  } else if (name === "value" && "defaultValue" in node) {
    node.value = value ?? "";
  } else if (name === "value" && node.localName === "select") {
    node.value = value ?? "";
  } else if (value === undefined || value === null || value === false) {
    node.removeAttribute(name);
  } else {
    node.setAttribute(name, value === true ? "" : String(value));
  }
}
