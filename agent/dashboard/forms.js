/** Buttons and forms: what they do may fail, and the card in which they are says why. */
import { printable } from './printable.js'
import { element, find } from './view.js'

/**
 * @param {Element} place a button is pressed once at a time
 * @param {() => unknown} work
 */
export async function report(place, work) {
  const pressed = place instanceof HTMLButtonElement ? place : undefined
  const error = place.closest('.card')?.querySelector('.error')
  const say = (/** @type {string} */ text) => {
    if (!(error instanceof HTMLElement)) return
    error.textContent = printable(text)
    error.hidden = text === ''
  }
  try {
    say('')
    if (pressed) pressed.disabled = true
    await work()
  } catch (problem) {
    say(problem instanceof Error ? problem.message : String(problem))
  } finally {
    if (pressed) pressed.disabled = false
  }
}

/**
 * @param {string} text
 * @param {() => unknown} work
 * @param {string} [question] asked first
 */
export function button(text, work, question) {
  const made = element('button', { type: 'button' }, text)
  made.addEventListener('click', () => {
    if (question === undefined || confirm(printable(question))) void report(made, work)
  })
  return made
}

/**
 * @param {string} selector
 * @param {(values: Record<string, string>, form: HTMLFormElement) => unknown} work
 */
export function onSubmit(selector, work) {
  const form = find(selector, HTMLFormElement)
  form.addEventListener('submit', (event) => {
    event.preventDefault()
    const values = Object.fromEntries(
      Array.from(new FormData(form), ([name, value]) => [name, typeof value === 'string' ? value : value.name]),
    )
    void report(event.submitter ?? form, () => work(values, form))
  })
}
