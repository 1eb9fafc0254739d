using System.Globalization;
using System.Diagnostics.CodeAnalysis;
using Kms.Hsm.Native;
using Net.Pkcs11Interop.Common;

namespace Kms.Hsm;

/// <summary>
/// One token, logged in to once. Operations share a gate; what makes or destroys token objects takes it alone, and so does the
/// end (C_Finalize under a running call crashes modules). Synchronous and safe for many threads; a call that hangs in the
/// module holds its thread.
/// </summary>
public sealed class Token : IDisposable
{
    private readonly Module _module;
    private readonly SessionPool _workers;
    private readonly ReaderWriterLockSlim _gate = new();
    private readonly TimeSpan _timeout;
    private readonly bool _importsWrapped;

    private readonly ulong _slot;
    private KeySession _keys;
    private bool _isDisposed;

    private Token(Module module, ulong slot, TokenDescription description, TokenOptions options)
    {
        _module = module;
        _slot = slot;
        _timeout = options.Timeout;
        _importsWrapped = options.ImportsWrapped;
        _workers = new SessionPool(module, slot, options.Sessions, options.Timeout);
        _keys = new KeySession(module, slot, options.Timeout);
        Description = description;
    }

    /// <summary>What the token says of itself.</summary>
    public TokenDescription Description { get; }

    /// <summary>Loads the module, finds the token and logs in, with one attempt and never another.</summary>
    /// <param name="modulePath">Absolute.</param>
    /// <param name="selector">Exactly one token must match.</param>
    /// <param name="pin">The user PIN; stays the caller's.</param>
    /// <param name="options">Sessions and time-out.</param>
    /// <exception cref="TokenException">The module, the token or the PIN isn't usable.</exception>
    /// <exception cref="ArgumentException">The path isn't absolute, or the selector doesn't name exactly one of label and serial.</exception>
    [SuppressMessage("Reliability", "CA2000", Justification = "The token takes the module over.")]
    public static Token Open(string modulePath, TokenSelector selector, SecretBytes pin, TokenOptions options)
    {
        ArgumentNullException.ThrowIfNull(selector);
        ArgumentNullException.ThrowIfNull(pin);
        ArgumentNullException.ThrowIfNull(options);
        ArgumentOutOfRangeException.ThrowIfLessThan(options.Sessions, 1);
        if (selector.Label is null == selector.Serial is null)
        {
            throw new ArgumentException("A token is selected by its label or by its serial.", nameof(selector));
        }

        var module = Module.Load(modulePath);
        try
        {
            (ulong slot, TokenDescription description) = Select(module, selector);

            // Never used again and never closed: it holds the login until the module is finalised.
            ulong loginHolder = module.OpenSession(slot, readWrite: true);
            module.Login(loginHolder, pin);
            return new Token(module, slot, description, options);
        }
        catch (Exception exception)
        {
            module.Dispose();
            throw exception is Pkcs11Exception failure ? Fault(failure) : exception;
        }
    }

    /// <summary>Tries every mechanism that a root generation needs, with keys that live for this session only.</summary>
    /// <exception cref="TokenException">A mechanism is missing or gives a wrong result.</exception>
    public TokenCapabilities SelfTest() => Change(session => TokenSelfTest.Run(_module, session));

    /// <summary>
    /// Tries every mechanism that a key of a type in the token needs, with keys that live for this session only. For RSA it
    /// takes as long as a token needs to make a key.
    /// </summary>
    /// <returns>The mechanism for want of which the token holds no such keys; null if it does.</returns>
    /// <exception cref="TokenException">The token doesn't answer.</exception>
    public string? FindMissing(TokenKeyType type)
    {
        TokenKeyObjects.CheckType(type);

        // In a session of its own: a mechanism that fails may leave an operation half done.
        return Share(() => InSessionOfItsOwn(session => TokenKeySelfTest.FindMissing(_module, session, type)));
    }

    /// <summary>Makes the three keys of a root generation in the token. Half of one never stays.</summary>
    /// <param name="number">From 1.</param>
    /// <param name="instanceId">16 bytes, by which its labels tell it from others'.</param>
    /// <exception cref="TokenException">The token refuses.</exception>
    public RootGenerationDescriptor CreateGeneration(uint number, ReadOnlySpan<byte> instanceId) =>
        CreateGeneration(RootGenerationDescriptor.Plan(number, instanceId));

    /// <summary>Makes the three keys that were planned, with the ids that were planned. Half of them never stays, unless the process dies.</summary>
    /// <param name="planned">As <see cref="RootGenerationDescriptor.Plan"/> made it.</param>
    /// <returns>With check values.</returns>
    /// <exception cref="TokenException">The token refuses.</exception>
    public RootGenerationDescriptor CreateGeneration(RootGenerationDescriptor planned)
    {
        ArgumentNullException.ThrowIfNull(planned);
        return Change(session => RootKeyObjects.Create(_module, session, planned, Description.Family));
    }

    /// <summary>
    /// Puts the three keys that were planned into the token, with the attributes that generated ones have: by C_CreateObject, or
    /// where the token refuses that, by C_UnwrapKey under an RSA pair that it makes for the occasion. Half of them never stays,
    /// unless the process dies.
    /// </summary>
    /// <param name="planned">As <see cref="RootGenerationDescriptor.Plan"/> made it.</param>
    /// <param name="values">Stay the caller's.</param>
    /// <returns>With check values.</returns>
    /// <exception cref="TokenException">The token refuses, or doesn't protect a key as it must.</exception>
    public RootGenerationDescriptor ImportGeneration(RootGenerationDescriptor planned, RootKeyValues values)
    {
        ArgumentNullException.ThrowIfNull(planned);
        ArgumentNullException.ThrowIfNull(values);
        return Change(session => RootKeyObjects.Import(_module, session, planned, values, _importsWrapped, Description.Family));
    }

    /// <summary>Puts a generation's keys back, as a database names them; nothing stays if they aren't the ones.</summary>
    /// <param name="descriptor">With ids and check values.</param>
    /// <param name="values">Stay the caller's.</param>
    /// <exception cref="TokenException">The token refuses, or the values are another key's.</exception>
    public RootGeneration RestoreGeneration(RootGenerationDescriptor descriptor, RootKeyValues values)
    {
        ArgumentNullException.ThrowIfNull(descriptor);
        ArgumentNullException.ThrowIfNull(values);
        return new RootGeneration(
            this, descriptor, Change(session => RootKeyObjects.Restore(_module, session, descriptor, values, _importsWrapped)));
    }

    /// <summary>
    /// True if the values are those of a generation in the token: each of its keys gives what the token's gives, and what either
    /// seals the other opens.
    /// </summary>
    /// <param name="descriptor">Of a generation in the token.</param>
    /// <param name="values">Stay the caller's.</param>
    /// <exception cref="TokenException">The token doesn't hold the generation, or refuses.</exception>
    public bool Proves(RootGenerationDescriptor descriptor, RootKeyValues values)
    {
        ArgumentNullException.ThrowIfNull(descriptor);
        ArgumentNullException.ThrowIfNull(values);
        return Change(session => RootKeyObjects.Proves(
            _module, session, RootKeyObjects.Open(_module, session, descriptor), descriptor, values, _importsWrapped));
    }

    /// <summary>True if two sets of values are the same keys to this token, which keeps neither.</summary>
    /// <param name="one">Stay the caller's.</param>
    /// <param name="other">Stay the caller's.</param>
    /// <exception cref="TokenException">The token refuses.</exception>
    public bool AreSame(RootKeyValues one, RootKeyValues other)
    {
        ArgumentNullException.ThrowIfNull(one);
        ArgumentNullException.ThrowIfNull(other);
        var planned = RootGenerationDescriptor.Plan(1, new byte[16]);
        return Change(session => RootKeyObjects.AreSame(_module, session, planned, one, other, _importsWrapped));
    }

    /// <summary>Finds a generation's keys, and proves by their check values and attributes that they are the ones.</summary>
    /// <exception cref="TokenException">A key is missing, another's, not alone, or not protected as it was made.</exception>
    public RootGeneration OpenGeneration(RootGenerationDescriptor descriptor)
    {
        ArgumentNullException.ThrowIfNull(descriptor);
        return new RootGeneration(this, descriptor, Operate(session => RootKeyObjects.Open(_module, session, descriptor)));
    }

    /// <summary>The numbers of the root generations of an instance of which the token holds a key.</summary>
    /// <param name="instanceId">16 bytes.</param>
    /// <exception cref="TokenException">The token doesn't answer.</exception>
    public IReadOnlyList<uint> FindRootGenerations(ReadOnlySpan<byte> instanceId)
    {
        string end = RootKeyObjects.InstanceSuffix(instanceId);
        return
        [
            .. FindRootObjects().Where(label => label.EndsWith(end, StringComparison.Ordinal)).Select(label => label[..^end.Length].Split('-')[^1])
                .Select(number => uint.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out uint parsed) ? parsed : 0)
                .Where(number => number > 0).Distinct(),
        ];
    }

    /// <summary>
    /// A 32-byte key for one use, by the mac key of a generation that no database describes any more: what was written while it was
    /// in use can be read by it. The key is known by its label alone; there must be exactly one, protected as a root key is.
    /// </summary>
    /// <param name="number">Of the generation.</param>
    /// <param name="instanceId">16 bytes.</param>
    /// <param name="label">Names the use, as for <see cref="RootGeneration.DeriveKey"/>.</param>
    /// <returns>The caller owns it; null if the token doesn't hold such a mac key.</returns>
    /// <exception cref="TokenException">The token doesn't answer.</exception>
    public SecretBytes? FindDerivedKey(uint number, ReadOnlySpan<byte> instanceId, string label)
    {
        ArgumentException.ThrowIfNullOrEmpty(label);
        byte[] id = instanceId.ToArray();
        return Operate(session => RootKeyObjects.FindMac(_module, session, number, id) is ulong mac
            ? RootGeneration.Derive(_module, session, mac, label, id, number)
            : null) is byte[] key ? new SecretBytes(key) : null;
    }

    /// <summary>Destroys the keys of a generation that no database describes any more, known by their labels; what is gone already is no error.</summary>
    /// <param name="number">Of the generation.</param>
    /// <param name="instanceId">16 bytes.</param>
    /// <exception cref="TokenException">The token refuses.</exception>
    public void DestroyGeneration(uint number, ReadOnlySpan<byte> instanceId)
    {
        byte[] id = instanceId.ToArray();
        _ = Change(session => RootKeyObjects.Destroy(_module, session, number, id));
    }

    /// <summary>Destroys a generation's keys; what is gone already is no error.</summary>
    /// <exception cref="TokenException">The token refuses.</exception>
    public void DestroyGeneration(RootGenerationDescriptor descriptor)
    {
        ArgumentNullException.ThrowIfNull(descriptor);
        _ = Change(session => RootKeyObjects.Destroy(_module, session, descriptor));
    }

    /// <summary>
    /// The values of the private data objects with a label, in no order: several where a replacement was cut off, of which one
    /// may be half made.
    /// </summary>
    /// <param name="label">CKA_LABEL.</param>
    /// <exception cref="TokenException">The token doesn't answer.</exception>
    public IReadOnlyList<byte[]> ReadData(string label)
    {
        ArgumentException.ThrowIfNullOrEmpty(label);
        return Operate(session => TokenDataObjects.Read(_module, session, label));
    }

    /// <summary>Makes a private data object and then destroys the older ones with its label: whenever this is cut off, one is whole.</summary>
    /// <param name="label">CKA_LABEL.</param>
    /// <param name="value">CKA_VALUE; at most 1024 bytes.</param>
    /// <param name="isStillWanted">Asked once nobody else changes the token; if it says no, nothing is done. Null: it is.</param>
    /// <exception cref="TokenException">The token refuses, or doesn't give the value back; nothing was destroyed then.</exception>
    public void ReplaceData(string label, ReadOnlySpan<byte> value, Func<bool>? isStillWanted = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(label);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(value.Length, Module.LongestAttribute);
        byte[] copy = value.ToArray();
        _ = Change(session =>
        {
            if (isStillWanted?.Invoke() != false)
            {
                TokenDataObjects.Replace(_module, session, label, copy);
            }

            return true;
        });
    }

    /// <summary>Destroys the data objects with a label; that there are none is no error.</summary>
    /// <param name="label">CKA_LABEL.</param>
    /// <exception cref="TokenException">The token refuses.</exception>
    public void DestroyData(string label)
    {
        ArgumentException.ThrowIfNullOrEmpty(label);
        _ = Change(session =>
        {
            TokenDataObjects.Destroy(_module, session, label);
            return true;
        });
    }

    /// <summary>The labels of all root keys in the token, whoever made them.</summary>
    /// <exception cref="TokenException">The token doesn't answer.</exception>
    public IReadOnlyList<string> FindRootObjects() => Operate(session => RootKeyObjects.Labels(_module, session));

    /// <summary>Random bytes from the token's generator (C_GenerateRandom).</summary>
    /// <exception cref="TokenException">The token doesn't answer.</exception>
    public unsafe void GenerateRandom(Span<byte> destination)
    {
        fixed (byte* start = destination)
        {
            byte* pinned = start;
            int length = destination.Length;
            _ = Operate(session =>
            {
                _module.GenerateRandom(session, new Span<byte>(pinned, length));
                return true;
            });
        }
    }

    /// <summary>
    /// Waits for running calls and finalises the module. If one hangs for longer than the time-out, the module is left as it
    /// is: the process's end closes it, and finalising under a running call would crash it.
    /// </summary>
    public void Dispose()
    {
        if (_isDisposed || !_gate.TryEnterWriteLock(_timeout))
        {
            return;
        }

        try
        {
            if (!_isDisposed)
            {
                _isDisposed = true;
                _workers.Dispose();
                _module.Dispose();
            }
        }
        finally
        {
            _gate.ExitWriteLock();
        }
    }

    /// <summary>Runs an operation in a worker session.</summary>
    internal T Operate<T>(Func<ulong, T> operation) => Share(() => _workers.Use(operation));

    /// <summary>Runs a call in the session in which keys live.</summary>
    internal T InKeySession<T>(KeySession keys, Func<ulong, T> call) => Share(() => keys.Use(call));

    /// <summary>The session in which new keys come to live: another one once it is lost.</summary>
    internal KeySession Keys
    {
        get
        {
            KeySession current = Volatile.Read(ref _keys);
            if (!current.IsLost)
            {
                return current;
            }

            KeySession next = new(_module, _slot, _timeout);
            KeySession now = Interlocked.CompareExchange(ref _keys, next, current);
            if (now != current)
            {
                return now;
            }

            // Alone: a call that still runs may use a key that ends with the session.
            _ = Change(_ => current.Close());
            return next;
        }
    }

    internal Module Module => _module;

    private T Share<T>(Func<T> call)
    {
        if (!_gate.TryEnterReadLock(_timeout))
        {
            throw Busy();
        }

        try
        {
            ObjectDisposedException.ThrowIf(_isDisposed, this);
            return call();
        }
        catch (Pkcs11Exception exception)
        {
            Volatile.Read(ref _keys).NoteLoss();
            throw Fault(exception);
        }
        finally
        {
            _gate.ExitReadLock();
        }
    }

    private T Change<T>(Func<ulong, T> change)
    {
        if (!_gate.TryEnterWriteLock(_timeout))
        {
            throw Busy();
        }

        try
        {
            ObjectDisposedException.ThrowIf(_isDisposed, this);
            return InSessionOfItsOwn(change);
        }
        catch (Pkcs11Exception exception)
        {
            throw Fault(exception);
        }
        finally
        {
            _gate.ExitWriteLock();
        }
    }

    /// <summary>A call that failed may leave an operation half done in the session: the next change must not meet it.</summary>
    private T InSessionOfItsOwn<T>(Func<ulong, T> change)
    {
        ulong session = _module.OpenSession(_slot, readWrite: true);
        try
        {
            return change(session);
        }
        finally
        {
            _module.CloseSession(session);
        }
    }

    private static TokenException Busy() => new(TokenFault.Unavailable, "The token is busy with a call that doesn't end.");

    private static (ulong Slot, TokenDescription Description) Select(Module module, TokenSelector selector)
    {
        List<(ulong Slot, TokenDescription Description)> matches = [];
        List<string> present = [];
        foreach (ulong slot in module.SlotsWithToken())
        {
            if (module.Describe(slot) is not TokenDescription description)
            {
                continue;
            }

            present.Add($"'{description.Label}' (serial {description.Serial})");
            if ((selector.Label is null || selector.Label == description.Label)
                && (selector.Serial is null || selector.Serial == description.Serial))
            {
                matches.Add((slot, description));
            }
        }

        return matches.Count switch
        {
            1 => matches[0],
            0 => throw new TokenException(TokenFault.TokenAbsent, $"No token has the {selector}; is it plugged in, and was it initialised? There: {(present.Count > 0 ? string.Join(", ", present) : "none")}."),
            _ => throw new TokenException(
                TokenFault.TokenAmbiguous,
                $"{matches.Count} tokens have the {selector}; name one by its serial: {string.Join(", ", matches.Select(match => match.Description.Serial))}."),
        };
    }

    private static TokenException Fault(Pkcs11Exception exception)
    {
        (TokenFault fault, string message) = (CKR)exception.ReturnValue switch
        {
            CKR.CKR_PIN_INCORRECT or CKR.CKR_PIN_INVALID or CKR.CKR_PIN_LEN_RANGE => (
                TokenFault.PinRefused, "The token refuses the PIN. It was tried once; most tokens lock after a few wrong tries."),
            CKR.CKR_PIN_LOCKED or CKR.CKR_PIN_EXPIRED => (
                TokenFault.PinLocked, "The token's PIN is locked or has expired; its security officer must reset it."),
            CKR.CKR_MECHANISM_INVALID or CKR.CKR_MECHANISM_PARAM_INVALID or CKR.CKR_FUNCTION_NOT_SUPPORTED => (
                TokenFault.Unsupported, "The token lacks a mechanism that kmsd needs"),
            _ => (TokenFault.Unavailable, "The token doesn't do what it was asked"),
        };
        return new TokenException(fault, fault is TokenFault.PinRefused or TokenFault.PinLocked ? message : $"{message}: {exception.Message}", exception);
    }
}
